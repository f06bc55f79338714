#!/usr/bin/env python3
"""Makes patterns.json beside it: how Hugging Face's tokenizers (PyPI tokenizers 0.23.3, Oniguruma) split by patterns.

    python3 tests/patterns.py                      # the handwritten ones, and 250 random ones
    python3 tests/patterns.py SEED COUNT > FILE    # other random ones, for MINKE_PATTERNS=FILE cargo test --lib patterns
"""
import json
import os
import random
import sys

from tokenizers import Regex, pre_tokenizers

TEXTS = ["ab a1 Ss\n", "a\nb\r\nB b\n", "ß ss ﬁ fi é²x_9", "aab bbab -a.", "xx\u0301 \u200d1\u2028z 日本", "AbSs ab\tb"]

# Patterns that models are published with, and what bug reports are about.
PUBLISHED = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[一-龥\u3040-ゟ゠-ヿ]+", r"\p{N}{1,3}", r"(?<=\d)(?=(\d{3})+(?!\d))", r" ?[^(\s|[.,!?…。，、।۔،])]+",
    r"[\p{Han}]+|[^[\p{L}&&[^\p{Han}]]]", r"\w+|[^\w\s]+", r"^\s+|\s+$", r"(?m)^.+$", r"[[:punct:]]", r"\R", r"\X", r"\p{^L}+",
]
HAND = r"""
a{2,1}a
(?=a)*b
(?:^)*a
(?<=a)?b
(?>a)*b
(?i)*a
[a-c-e]+
[a-c-]+
[--a]+
[+--]+
[a-\n]
[\d-]+
[\d-a]
[a-&&[^b]]+
[a&&b-]+
[^-a]+
[a--]+
[+--a]+
[a\-z]+
[-a-c]+
[a-z&&[^b]x]+
[ab&&bc&&b]+
[^a&&b]+
[\p{L}&&[^a]]+
[]a]+
[^]a]+
[]
[
[a]]
[\]a]+
[[:^alpha:]]+
[[:ALPHA:]]
[:alpha:]+
[[.a.]]+
[[:alpha:][:digit:]]+
[a[:digit:]-z]
[[:digit:]-]+
[\R\X\b]+
[\x41-\x{43}]+
[\u0041-C]+
(?i)\p{Lu}+
(?i)[\p{Lu}]+
(?i)[^\p{Lu}]+
(?i)[\p{L}]{1}
(?i)[ß]x
(?i)[ßs]$
(?i)[ßs]s
(?i)[[ß]]
(?i)ſ
(?i)ss+
(?i)sst
(?i)ﬃ
(?i)ffi
(?i)s(?:s)
(?i)s\x{73}
(?i)s(?#c)s
(?i)s(?-i)s
(?i:s)s
(?i)[s]s
(?ix)s s
(?i)i̇
(?i)ı
(?i)k
(?i)(a)\1
(?<=a+)b
(?<=a|bc)d
(?<!a|bc)d
(?<!(a))b
(?<=(?=a).)b
(?<=\b)b
(?<=^)b
(?<=\R)b
a(?i)b|c
(?:a|^)*b
(^)*a
(?:^^)*a
\b+a
a|*b
()*a
(|a)*b
(a*)*b
\cA
\C-a
\c\\
\xg
\x414
\u004
\o{101}
\xc3\xa9
\xe9
\x80
\101
\0
\8
\81
(a)(b)\2\1
(?<n>a)(b)\k<n>
(a)\k<1>
(a)\k<-1>
(a)\k'1'
(?<n>a)\1
\k<0>
\10
(a)\12
(a)\2
(?x) a + b #c
(?x)[a b]
(?x)( ?:a)
a)
(a
(?
(?a)
(?s).
(?)
(?-)a
(?m-m).
(?im-x:a.)
(?<>a)
(?<1a>a)
(?<ä>a)
(?P<n>a)
\p{Script=Latin}
\p{gc=L}
\p{L&}
\p{IsHan}
\p{lower case letter}+
\p{Uppercase-Letter}+
\p{Punct}+
\p{PosixPunct}+
\p{Word}+
\P{^L}+
\p{}
\pL
\p
\w+
[\w]+
\W+
\b
\h+
\N+
\O+
\Z
\z
\A
^
$
a^b
{
a{
a{,}
{2}
a{1,2
x{2}{3}
a{2}+
a{2}?
a{1,2}?
a*?+
a+*
a?+a
a{,2}
a{0}
a{3,2}?
*
?
a||b
()
]
}
\Q
\<
\e\a\v\t\f
""".strip().split("\n")

ATOMS = ["a", "b", "A", "B", "s", "ß", "1", " ", r"\n", r"\.", "é", "-", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\h", r"\p{L}", r"\p{^L}",
         r"\P{Lu}", r"\p{Punct}", r"\p{Alnum}", ".", "[ab]", "[^a]", "[[:alpha:]]", "[[:^punct:]]", "[a-c-]", r"[\w&&[^b]]", "[]a]", r"[\d\s]",
         "(a)", "(?:ab)", "(?:a|b)", "(?>ab|a)", r"\R", r"\x61", r"\u0062", r"\141", "(?i)", "(?i:sS)", "(?m:.)", "[a-z&&b-y]", r"\X", r"\N",
         "x", "ss", "fi", "(?#c)", "(?x: a b )", "(b|1)", "[[a-c]x]", "(?i:[ßb])", "(?i:[^s])", "(?i:ﬁ)"]
PLACES = ["^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)", "(?<=a|bc)", r"(?<=\s)", r"(?<=\w+ )", "(?<!a|bc)"]
QUANTIFIERS = ["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{,2}", "{1,}", "{1,2}?", "{2}?", "{1,2}+", "{2,1}", "{,}"]
GROUPS = ["(", "(?:", "(?>", "(?i:", "(?=", "(?<n>"]
ODD = [r"\1", r"\k<n>", "{", "}", "]", "(?-i)", "(?m)"]


def by_chance(chance, depth=0):
    out = ""
    for _ in range(chance.randint(1, 4)):
        kind = chance.random()
        if kind < 0.15:
            out += chance.choice(PLACES)
        elif kind < 0.25 and depth < 2:
            out += chance.choice(GROUPS) + by_chance(chance, depth + 1) + ")"
        elif kind < 0.32:
            inside = ["a", "b", "-", "^", "]", "[b-d]", "&&", r"\d", r"\w", "é", r"\-", " ", "z", "[:alpha:]", r"\n", "s", r"\P{L}", "[^b]", "[", "ß"]
            out += "[" + "".join(chance.choice(inside) for _ in range(chance.randint(1, 5))) + "]"
        else:
            out += chance.choice(ATOMS)
        if chance.random() < 0.35:
            out += chance.choice(QUANTIFIERS)
        if chance.random() < 0.1:
            out += "|"
        if chance.random() < 0.04:
            out += chance.choice(ODD)
    return out


def case(pattern, texts):
    try:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        return {"pattern": pattern, "texts": texts, "splits": [[piece for piece, _ in split.pre_tokenize_str(text)] for text in texts]}
    except Exception as error:
        return {"pattern": pattern, "error": str(error)}


def cases(seed, count):
    chance = random.Random(seed)
    return [case(by_chance(chance), TEXTS) for _ in range(count)]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        json.dump(cases(*map(int, sys.argv[1:])), sys.stdout, ensure_ascii=False)
    else:
        more = ["I'S don'T we'LL 12345  \n\n x", "K ß ẞ sst ßt ﬃ ffi SSx ssx ss İ ı i̇ ſ", "1234567 a-b&&[c] \x01\x08A\u0080é{2}]})*^$ QR<\x1b\x07\x0b\t\x0c", "HelloWorld 日本語カタ。，(a|b).", "d ad bcd\nAB\x00g A4 p pL 81 a\x81"]
        out = [case(pattern, TEXTS[:3] + more) for pattern in PUBLISHED + HAND] + cases(1, 250)
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "patterns.json"), "w") as file:
            file.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in out) + "\n]\n")
