"""Converts SmolLM2-135M-Instruct for Transformers.js, from the weights that Minke and wllama load.

    python3 -m venv .cache/venv
    .cache/venv/bin/pip install torch transformers==5.23.0 accelerate gguf onnx onnx_ir onnxruntime-genai==0.18.0
    .cache/venv/bin/python benches/export_onnx.py

Writes `.cache/onnx-smollm2/`: config, tokenizer and `onnx/model_q4.onnx`. The exporter quantises again, to blocks of 32 weights of
4 bits, so the text differs from that of the GGUF. Transformers.js is only compared for speed; its text is recorded, too.
"""

import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
OUT = CACHE / "onnx-smollm2"


def dequantise(folder: Path) -> None:
    """Writes the GGUF as a Hugging Face folder of f32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoTokenizer.from_pretrained(CACHE, gguf_file=GGUF).save_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(CACHE, gguf_file=GGUF, dtype=torch.float32)
    # A model that was loaded from quantised weights cannot be saved, so its weights move to a plain model of the same config.
    facts = {k: v for k, v in loaded.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
    plain = type(loaded)(type(loaded.config)(**facts)).float()
    plain.load_state_dict({k: v.detach().float() for k, v in loaded.state_dict().items()}, strict=False)
    plain.tie_weights()
    plain.save_pretrained(folder)


def export(folder: Path, out: Path) -> None:
    """Exports the folder as ONNX with 4-bit weights and f32 activations, as WebGPU without shader-f16 needs them."""
    options = ["use_webgpu_fp32=1", "shared_embeddings=false"]
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    subprocess.run([*builder, "-m", folder, "-o", out, "-p", "int4", "-e", "webgpu", "--extra_options", *options], check=True)


def inline(source: Path, target: Path, head_dim: int) -> None:
    """Writes one file in which the head size of the cache is a number, from which Transformers.js makes the first, empty cache."""
    import onnx

    model = onnx.load(source)
    for value in [*model.graph.input, *model.graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "kv_cache_dim":
                dim.dim_value = head_dim
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)


def main() -> None:
    work = CACHE / "onnx-work"
    plain, exported = work / "plain", work / "exported"
    if not (CACHE / GGUF).is_file():
        sys.exit(f".cache/{GGUF} is not here: `cargo xtask setup` fetches it")
    dequantise(plain)
    export(plain, exported)
    inline(exported / "model.onnx", OUT / "onnx" / "model_q4.onnx", head_dim=64)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        if (plain / name).is_file():
            shutil.copy(plain / name, OUT / name)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
