"""Records which tokens transformers' logits processors keep, for `kernels/sample/tests.rs`.

    python tests/processors.py > tests/processors.json

Presence and frequency penalties, which transformers lacks, are subtracted between repetition penalty and temperature, as
OpenAI's API defines them (generated tokens only).
"""
import json
import sys

import torch
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

CASES = [
    dict(),
    dict(temperature=0.7, topK=12, topP=0.9, minP=0.02),
    dict(repetitionPenalty=1.4),
    dict(repetitionPenalty=0.7, temperature=1.5, topP=0.8),
    dict(presencePenalty=0.8, frequencyPenalty=0.3, topK=9),
    dict(logitBias={"3": 4.0, "8": -3.0}, repetitionPenalty=1.3, minP=0.1),
    dict(logitBias={"1": 2.0}, repetitionPenalty=1.2, presencePenalty=0.5, frequencyPenalty=0.25, temperature=0.8, topK=20, topP=0.95, minP=0.01),
]


def kept(logits, prompt, generated, o):
    ids = torch.tensor([prompt + generated])
    scores = logits.clone()[None]
    if "logitBias" in o:
        scores = SequenceBiasLogitsProcessor([[[int(i)], b] for i, b in o["logitBias"].items()])(ids, scores)
    if "repetitionPenalty" in o:
        scores = RepetitionPenaltyLogitsProcessor(o["repetitionPenalty"])(ids, scores)
    for i in set(generated):
        scores[0, i] -= o.get("presencePenalty", 0.0) + generated.count(i) * o.get("frequencyPenalty", 0.0)
    scores = TemperatureLogitsWarper(float(o.get("temperature", 1.0)))(ids, scores)
    if "topK" in o:
        scores = TopKLogitsWarper(o["topK"])(ids, scores)
    if "topP" in o:
        scores = TopPLogitsWarper(o["topP"])(ids, scores)
    if "minP" in o:
        scores = MinPLogitsWarper(o["minP"])(ids, scores)
    probabilities = scores[0].softmax(-1)
    return [[i, round(p, 7)] for i, p in enumerate(probabilities.tolist()) if p > 0]


out = []
for seed in range(3):
    g = torch.Generator().manual_seed(seed)
    logits = (torch.randn(40, generator=g) * 2.0)
    logits = (logits * 4096).round() / 4096  # exact in a few decimals
    for o in CASES:
        prompt, generated = [3, 5, 5, 11], [7, 3, 7, 7, 20]
        out.append(dict(logits=logits.tolist(), prompt=prompt, generated=generated, options=o, kept=kept(logits, prompt, generated, o)))
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in out)
sys.stdout.write(f"[\n{lines}\n]\n")
