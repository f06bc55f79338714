#!/usr/bin/env python3
"""Makes pre_tokenizers.json beside it: how llama.cpp tokenizes by each name that `tokenizer.ggml.pre` may have, over one small
vocabulary whose merges cross every boundary. In a folder where `npm install node-llama-cpp@3.22.1` was run
(PyPI: gguf, tokenizers 0.23.3):

    python3 .../tests/pre_tokenizers.py
"""
import json
import os
import subprocess

from gguf import GGUFWriter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

NAMES = """default gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert exaone4 mpt olmo jais trillion
granite-docling smollm starcoder refact command-r codeshell exaone minerva-7b mellum2 llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral
midm-2.0 lfm2 jina-v5-nano minicpm5 smaug-bpe dbrx glm4 chatglm-bpe deepseek-llm deepseek-coder deepseek-v3 hunyuan-dense joyai-llm hy_v4
youtu falcon qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 qwen35 poro-chat bloom gpt3-finnish viking
tekken chameleon gpt-4o llama4 kanana2 talkie minimax-m2 superbpe bailingmoe bailingmoe2 llada-moe seed-coder ufakzeka exaone-moe
tiny_aya cohere2moe kimi-k2 laguna""".split()

TEXTS = [
    "Hello world, it's 12345678 o'clock!  I'LL go; you're  late\n\n\n  and  she'D\tsaid\r\nno.",
    "x = foo_bar(a+b*c) / 3.14 - y[10] && !z || 'str' \"q\" <tag/> #1 $5 %d ^ ~ `k` @me {a:b} \\n",
    "HelloWorld helloWORLD McDonald iPhone15Pro v1.2.3 ABC123def 1,234,567.89 1st 2nd",
    "Größe naïve café e\u0301 ÀÉÎ straße ΑΒΓ αβγ Привет мир ДОМ",
    "日本語テスト、漢字ひらがなカタカナ。中文字符！한국어 텍스트 조선말 ㄱㄴ",
    "    indented\n\tcode\n        more   \n trailing   ",
    "हिन्दी भाषा বাংলা ภาษาไทย العربية ١٢٣ עברית",
    "🙂👍🏽 emoji👩\u200d💻 … — “quotes” ‘s ½ ² №5 €10 ©",
    "a\u00a0b\u3000c\u200bd\u2028e 'sx 't 'RE' don'ts we'ven",
    "ends with spaces and newline  \n",
]

ASK = """
import { writeFileSync } from "node:fs";
import { getLlama } from "node-llama-cpp";
const llama = await getLlama({ gpu: false, build: "never", logLevel: "disabled" });
const [texts, ...files] = process.argv.slice(2);
const out = [];
for (const file of files) {
  try {
    const model = await llama.loadModel({ modelPath: file, vocabOnly: true });
    out.push(JSON.parse(texts).map((text) => [...model.tokenize(text, false)]));
    await model.dispose();
  } catch (error) {
    out.push(null);
  }
}
writeFileSync("answers.json", JSON.stringify(out));
process.exit(0);
"""


def write(path, name, tokens, merges):
    w = GGUFWriter(path, "llama")
    w.add_context_length(32)
    w.add_embedding_length(32)
    w.add_block_count(1)
    w.add_feed_forward_length(32)
    w.add_head_count(1)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(name)
    w.add_token_list(tokens)
    w.add_token_types([1] * (len(tokens) - 2) + [3, 3])
    w.add_token_merges(merges)
    w.add_bos_token_id(len(tokens) - 2)
    w.add_eos_token_id(len(tokens) - 1)
    w.add_add_bos_token(False)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
tokenizer.train_from_iterator(TEXTS * 2, trainers.BpeTrainer(vocab_size=900, min_frequency=2, initial_alphabet=alphabet, show_progress=False))
model = json.loads(tokenizer.to_str())["model"]
tokens = sorted(model["vocab"], key=model["vocab"].get) + ["<s>", "</s>"]
merges = [" ".join(pair) for pair in model["merges"]]
paths = []
for name in NAMES:
    paths.append(f"pre-{name}.gguf")
    write(paths[-1], name, tokens, merges)
with open("ask.mjs", "w") as file:
    file.write(ASK)
subprocess.run(["node", "ask.mjs", json.dumps(TEXTS), *paths], check=True)
with open("answers.json") as file:
    answers = json.load(file)
groups = {}
for name, ids in zip(NAMES, answers):
    os.remove(f"pre-{name}.gguf")
    if ids is None:
        print(f"{name}: llama.cpp does not know it")
    else:
        groups.setdefault(json.dumps(ids), []).append(name)
out = {"tokens": tokens, "merges": merges, "texts": TEXTS, "groups": [{"names": names, "ids": json.loads(ids)} for ids, names in groups.items()]}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "pre_tokenizers.json"), "w") as file:
    json.dump(out, file, ensure_ascii=False, separators=(",", ":"))
for names in groups.values():
    print(*names)
