"""Makes a golden case: a tiny random checkpoint, and what Hugging Face transformers computes with it in f32.

    pip install torch transformers safetensors
    python tests/golden/make.py CONFIG TOKENIZER OUT [--seed N] [--tries N] [--long N] [--store bfloat16]

CONFIG is a config.json of tiny sizes, with the keys that published models of the family have; it is copied into the case as it is.
TOKENIZER is a folder with tokenizer.json, tokenizer_config.json and a chat template; that of another case will do, if the vocabulary of
CONFIG is as large. OUT becomes the folder of the case and must not exist. README.md beside this file describes what is in it.

Weights are random. They are scaled so that activations stay near 1 and the logits of a token differ by a few units, and no weight has the
value that an implementation without it would assume. Seeds are tried one after another until one gives a case that others can reproduce:
the two highest logits of each step and the scores of chosen and other experts are not too close, an f16 run chooses the same tokens, and
the answers neither end nor repeat themselves.
"""
import argparse
import hashlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

STEPS = 24  # greedy tokens after each prompt
MARGIN = 5e-3  # between the two highest logits of a step; f32 implementations differ by 1e-4
ROUTER_GAP = 1e-4  # between the scores of the last chosen expert and the next
DISTINCT = 10  # different tokens in an answer
LOGIT_STD = 2.5  # of a token's logits
SAMPLING = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
CHAT = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Zürich 東京 🏔?"}]
STRINGS = ["Two words", " \t leading,  doubled\n\n", "Ünïcödé 漢字 🧑‍🔬 1234567", "<|eos|> as text", ""]


class RouterGap(TorchFunctionMode):
    """Records the smallest distance between the last value that a top-k selection keeps and the first that it drops."""

    smallest = math.inf

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.topk, torch.Tensor.topk):
            values, k = args[0].float(), args[1] if len(args) > 1 else kwargs["k"]
            if values.shape[-1] > k:
                ordered = values.sort(dim=-1, descending=True).values
                gaps = ordered[..., k - 1] - ordered[..., k]
                gaps = gaps[gaps.isfinite()]
                if gaps.numel():
                    self.smallest = min(self.smallest, gaps.min().item())
        return function(*args, **kwargs)


# The random checkpoint.


def fill(model, seed):
    """Gives every parameter random values; norms keep the centre that their class gave them, which is 1, or 0 for `1 + weight`."""
    random = torch.Generator().manual_seed(seed)
    buffers = [(name, buffer) for name, buffer in model.named_buffers() if name.endswith("_bias")]
    for name, parameter in [*model.named_parameters(), *buffers]:
        noise = torch.randn(parameter.shape, generator=random)
        if parameter.dim() == 1:
            centre = float(parameter.float().mean()) if "norm" in name else 0.0
            values = round(centre) + (0.2 if "norm" in name else 0.3) * noise
        else:
            values = 1.2 / math.sqrt(inputs(model.config, name, parameter)) * noise
        parameter.data.copy_(values)


def inputs(config, name, matrix):
    """The length of the vectors that a matrix is applied to. Experts in one tensor may be published either way round."""
    if matrix.dim() == 3 and matrix.shape[1] != matrix.shape[2]:
        hidden = config.hidden_size
        into_hidden = "down" in name
        return next((n for n in matrix.shape[1:] if (n == hidden) != into_hidden), matrix.shape[2])
    return matrix.shape[-1]


def calibrate(model, ids):
    """Scales the embedding, and then the head or what stands in for it, by what the model computes."""
    base, tied = model.model, model.config.tie_word_embeddings
    # A large embedding would repeat the input where it is the head as well.
    start = 0.1 if tied else 0.7
    model.get_input_embeddings().weight.data *= start / run(model, ids)[1][0].square().mean().sqrt()
    factor = LOGIT_STD / run(model, ids)[0].std()
    if tied:
        offset = 1.0 - round(float(type(base.norm)(model.config.hidden_size).weight.mean()))  # 1 for `1 + weight`
        base.norm.weight.data = (base.norm.weight.data + offset) * factor - offset
    else:
        model.get_output_embeddings().weight.data *= factor


def write_checkpoint(folder, config, seed, store, ids):
    """Writes shards and their index under the published names. Buffers, such as DeepSeek-V3's correction of scores, stay f32, as published."""
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    fill(model, seed)
    calibrate(model, ids)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(store)
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    model.save_pretrained(folder, max_shard_size=size // 3 + 1)
    return size


def open_checkpoint(folder, dtype=torch.float32):
    plain = {"attn_implementation": "eager", "experts_implementation": "eager"}
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **plain).eval()


# What transformers computes.


def run(model, ids):
    """The logits of all tokens, and the residual stream before each layer and after the last."""
    streams = []

    def before(_, args, kwargs):
        streams.append((args[0] if args else kwargs["hidden_states"])[0].float())

    def after(_, args, output):
        streams.append((output[0] if isinstance(output, tuple) else output).float().reshape(len(ids), -1))

    layers = model.model.layers
    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    hooks.append(layers[-1].register_forward_hook(after))
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    for hook in hooks:
        hook.remove()
    return logits, streams


def answer(model, ids):
    """A prompt's record: greedy tokens without a cache, and by how much each was ahead of the second."""
    tokens, margins = list(ids), []
    for _ in range(STEPS):
        best = run(model, tokens)[0][-1].sort(descending=True)
        margins.append((best.values[0] - best.values[1]).item())
        tokens.append(int(best.indices[0]))
    logits = run(model, tokens)[0]
    record = {
        "ids": list(ids),
        "greedy_ids": tokens[len(ids):],
        "greedy_margins": [round(margin, 5) for margin in margins],
        "min_margin": min(margins),
        "argmax": logits.argmax(-1).tolist(),
    }
    return record, logits


def noise(folder, ids, exact):
    """How far runs in other number formats are from the f32 logits of a prompt."""
    levels = {}
    for name, dtype in (("f64", torch.float64), ("f16", torch.float16), ("bf16", torch.bfloat16)):
        try:
            off = (run(open_checkpoint(folder, dtype), ids)[0] - exact).abs()
            levels[name] = {"max_abs": round(off.max().item(), 8), "mean_abs": round(off.mean().item(), 8)}
        except RuntimeError as error:  # some classes mix number formats
            levels[name] = {"error": str(error)[:80]}
    return levels


def faults(folder, records, gap, ends):
    """Why others could not reproduce a case; empty if they can."""
    found = []
    if min(record["min_margin"] for record in records.values()) < MARGIN:
        found.append("two logits are nearly equal")
    if gap < ROUTER_GAP:
        found.append("two experts score nearly alike")
    if any(ends.intersection(record["greedy_ids"]) for record in records.values()):
        found.append("an answer ends")
    if any(len(set(record["greedy_ids"])) < DISTINCT for record in records.values()):
        found.append("an answer repeats itself")
    if any(record["argmax"][len(record["ids"]) - 1 : -1] != record["greedy_ids"] for record in records.values()):
        found.append("the length of the whole changes earlier tokens")
    if not found:
        half = open_checkpoint(folder, torch.float16)
        for record in records.values():
            rows = run(half, record["ids"] + record["greedy_ids"])[0].argmax(-1).tolist()
            if rows[len(record["ids"]) - 1 : -1] != record["greedy_ids"]:
                found.append("an f16 run chooses other tokens")
    return found


# The case.


def text_facts(tokenizer):
    """A rendered chat and encoded strings."""
    rendered = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    plain = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    chats = [{"messages": CHAT, "add_generation_prompt": True, "rendered": rendered, "ids": plain(rendered)}]
    encodings = []
    for text in STRINGS:
        special = tokenizer(text)["input_ids"]
        decoded = tokenizer.decode(special), tokenizer.decode(special, skip_special_tokens=True)
        encodings.append({"text": text, "ids": plain(text), "ids_special": special, "decoded": decoded[0], "decoded_skip": decoded[1]})
    return chats, encodings


def prompts(tokenizer, seed, long):
    """Prompts of ordinary tokens, and one from a chat."""
    random = torch.Generator().manual_seed(seed + 1)
    ordinary = min(tokenizer.added_tokens_decoder, default=len(tokenizer))
    ids = {name: torch.randint(3, ordinary, (n,), generator=random).tolist() for name, n in (("short", 7), ("medium", 33), ("long", long))}
    return {**ids, "chat": text_facts(tokenizer)[0][0]["ids"]}


def attempt(folder, args, seed):
    """Writes the checkpoint of a seed into a folder with config and tokenizer; returns the case's facts and tensors, and its faults."""
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    stated = json.loads((folder / "config.json").read_text())
    wanted = prompts(tokenizer, seed, args.long)
    size = write_checkpoint(folder, config, seed, getattr(torch, args.store), wanted["medium"])
    shutil.copy(args.config, folder / "config.json")  # transformers wrote its own
    special = {key: stated[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if stated.get(key) is not None}
    (folder / "generation_config.json").write_text(json.dumps({**special, **SAMPLING, "transformers_version": "4.51.0"}, indent=1))

    model, records, tensors = open_checkpoint(folder), {}, {}
    with RouterGap() as gap:
        for name, ids in wanted.items():
            records[name], logits = answer(model, ids)
            if name != "chat":
                tensors[f"logits.{name}"] = logits[-STEPS - 1 :].contiguous()
            if name == "medium":
                medium = logits[: len(ids)]
    exact, streams = run(model, wanted["medium"])
    tensors.update({f"hidden.{i}": stream.contiguous() for i, stream in enumerate(streams)})
    records["chat"]["text"] = tokenizer.decode(records["chat"]["greedy_ids"])

    ends = config.eos_token_id
    wrong = faults(folder, records, gap.smallest, set(ends if isinstance(ends, list) else [ends]))
    chats, encodings = text_facts(tokenizer)
    facts = {
        "case": args.out.name, "seed": seed, "store": args.store, "quant": None, "layout": "sharded", "wrap": None, "golden_from": None,
        "made_with": {"torch": torch.__version__, "transformers": transformers.__version__},
        "weight_bytes": size, "shards": len(list(folder.glob("model-*.safetensors"))), "params": sum(p.numel() for p in model.parameters()),
        "min_margin": min(record["min_margin"] for record in records.values()),
        "min_router_gap": gap.smallest if math.isfinite(gap.smallest) else None,
        "logits_std": medium.std().item(),
        "noise_medium": {} if wrong else noise(folder, wanted["medium"], exact),
        "prompts": records, "chats": chats, "encodings": encodings, "tokenizer_flavour": args.tokenizer.name,
    }
    return facts, tensors, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("config", "tokenizer", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tries", type=int, default=100, help="seeds to try")
    parser.add_argument("--long", type=int, default=50, help="tokens of the long prompt: more than any window or chunk of CONFIG")
    parser.add_argument("--store", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    args = parser.parse_args()
    stated = json.loads(args.config.read_text())
    if "text_config" in stated or "quantization_config" in stated:
        parser.error("only text models that are not quantised; README.md says what else there is")
    if args.out.exists():
        parser.error(f"{args.out} exists")
    transformers.utils.logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)  # the order of sums, and so the bytes, are always the same

    for seed in range(args.seed, args.seed + args.tries):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / args.out.name
            folder.mkdir()
            shutil.copy(args.config, folder / "config.json")
            for name in TOKENIZER_FILES:
                if (args.tokenizer / name).exists():
                    shutil.copyfile(args.tokenizer / name, folder / name)
            facts, tensors, wrong = attempt(folder, args, seed)
            if wrong:
                print(f"seed {seed}: {', '.join(wrong)}", flush=True)
                continue
            save_file(tensors, folder / "golden.safetensors")
            facts["sha256"] = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
            (folder / "golden.json").write_text(json.dumps(facts, ensure_ascii=False, separators=(",", ":")))
            for file in folder.iterdir():
                file.chmod(0o644)
            shutil.copytree(folder, args.out)
            print(f"seed {seed}: margin {facts['min_margin']:.4f}, router gap {facts['min_router_gap']}, noise {facts['noise_medium']}")
            return
    raise SystemExit(f"none of {args.tries} seeds is suitable; others follow with --seed")


main()
