#!/usr/bin/env python3
"""Makes templates.json beside it: what transformers' Jinja (PyPI transformers 5.24, Jinja2 3.1.6) renders of small templates.

    python3 tests/templates.py
"""
import json
import os
import re

from transformers.utils.chat_template_utils import _compile_jinja_template

MESSAGES = [{"role":"system","content":"  Be brief é ✓ \n"},{"role":"user","content":"Hello <b> & 'x' \"y\" a,b,,c"},{"role":"assistant","content":"<think>t</think>\n\nHi","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":{"z":1,"a":[1,2.5,True,None,"é/</"],"m":{}}}}]},{"role":"tool","content":"{\"r\": 1}","name":"f","tool_call_id":"c1"},{"role":"user","content":[{"type":"text","text":"part"},{"type":"image"}]}]
TOOLS = [{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"string","enum":["x","y"]}},"required":["b"]}}}]
TEMPLATES = [
    "{{ messages | tojson }}",
    "{{ messages | tojson(indent=2) }}",
    "{{ tools | tojson(indent=4) }}",
    "{{ tools|tojson(separators=(',', ':')) }}",
    "{{ tools|tojson(sort_keys=true) }}",
    "{{ messages[2].tool_calls[0]|tojson(ensure_ascii=true) }}",
    "{{ messages[2]|tojson(indent=0) }}",
    "{{ [] | tojson(indent=2) }}{{ {} | tojson(indent=2) }}{{ [[],{}]|tojson(indent=1) }}",
    "{{ [1.0, 1e20, 1e-7, 0.1, -0.0, 12345678901234567890]|tojson }}",
    "{{ {'b':1,'a':2}|tojson }}{{ {1:2, true:3, none:4}|tojson }}",
    "{{ 'a\\tb\\x7f\\u2028</script>\\'' | tojson }}",
    "{% set ns = namespace(x=0, y='') %}{% for m in messages %}{% set ns.x = ns.x + 1 %}{% set ns.y = ns.y ~ m.role[0] %}{% endfor %}{{ ns.x }} {{ ns.y }}",
    "{% macro f(a, b='d', c=none) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, c=3) }}|{{ f('x', 'y', [1]) }}|{{ f(b=1, a=2) }}",
    "{% macro g(a) %}{{ a }}{{ caller() }}{% endmacro %}{% call g(1) %}in{% endcall %}",
    "{% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n-1) }}{% endif %}{% endmacro %}{{ r(5) }}",
    "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{% if loop.index == 4 %}{% break %}{% endif %}{{ loop.index }}{{ m.role }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex0 }},{% endfor %}",
    "{% for m in messages if m.role != 'user' %}{{ loop.index }}{{ m.role }}{% else %}none{% endfor %}",
    "{% for x in [] %}{% else %}none{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem }}>{{ loop.nextitem.role if loop.nextitem is defined }} {% endfor %}",
    "{% for m in messages %}{{ loop.cycle('a','b') }}{% endfor %}",
    "{{ 'a,b,,c'.split(',') }}{{ ' a  b '.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'a b c'.rsplit(' ', 1) }}{{ ' a b  c '.rsplit(none, 1) }}{{ ' a  b'.rsplit() }}{{ ''.rsplit() }}{{ 'a,b'.rsplit(',') }}{{ 'ab'|d('x', boolean=true) }}{{ none|default(default_value='q', boolean=true) }}{{ 'a</think>b</think>c'.split('</think>')[-1] }}",
    "{{ '  x '.strip() }}|{{ '  x '.lstrip() }}|{{ ' x  '.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ '\\n\\nq\\n'.lstrip('\\n') }}|",
    "{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith('bc') }}{{ 'abc'.startswith(('x','a')) }}{{ 'aXbX'.replace('X','-') }}{{ 'aaa'.replace('a','b',2) }}{{ 'abab'.count('ab') }}{{ 'abab'.find('b') }}{{ 'abab'.rfind('b') }}",
    "{{ 'hello world'.title() }}{{ 'HeLLo'.capitalize() }}{{ 'a'.upper() }}{{ 'A'.lower() }}{{ '12'.isdigit() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}{{ 'a1'.isalnum() }}{{ 'A'.isupper() }}{{ 'a'.islower() }}",
    "{{ ','.join(['a','b']) }}{{ '{} and {}'.format(1,'x') }}{{ '%s=%d'|format('a', 3) }}{{ 'a\\nb\\r\\nc'.splitlines() }}{{ 'a-b-c'.partition('-')|join('/') }}{{ 'a-b-c'.rpartition('-')|join('/') }}{{ 'abc'.partition('-')|join('/') }}{{ 'abc'.rpartition('-')|join('/') }}{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}",
    "{% for m in messages[::-1] %}{{ m.role }}{% endfor %}{{ 'abcdef'[::-1] }}{{ 'abcdef'[::2] }}{{ [1,2,3,4][-2:] }}{{ [1,2,3,4][:-1] }}{{ [1,2,3,4][3:0:-1] }}{{ 'abc'[-1] }}{{ messages[1:][0].role }}",
    "{% for k, v in messages[2].tool_calls[0].function.arguments.items() %}{{ k }}={{ v }};{% endfor %}{{ messages[0].keys()|list }}{{ messages[0].values()|list }}{{ messages[0].get('x','dflt') }}{{ messages[0].get('role') }}{{ messages[0].get('x') }}",
    "{% for k, v in {'b':1,'a':2}|items %}{{ k }}{{ v }}{% endfor %}{% for k, v in {'b':1,'a':2}|dictsort %}{{ k }}{{ v }}{% endfor %}",
    "{% for v in [1, 1.5, 'a', none, true, [1], {'a':1}, undefinedx] %}{{ v is mapping }}{{ v is iterable }}{{ v is string }}{{ v is number }}{{ v is sequence }}{{ v is none }}{{ v is defined }}{{ v is boolean }}{{ v is integer }}{{ v is float }}{{ v is true }}{{ v is false }} {% endfor %}",
    "{{ messages|selectattr('role','equalto','user')|list|length }}{{ messages|selectattr('role','==','user')|map(attribute='role')|join('+') }}{{ messages|rejectattr('role','in',['user','tool'])|map(attribute='role')|list }}{{ messages|map(attribute='nope', default='q')|list }}{{ ['a','b']|map('upper')|join }}{{ [3,1,2]|sort }}{{ [3,1,2]|sort(reverse=true) }}{{ [1,0,2]|select|list }}{{ [1,2,3,4]|select('odd')|list }}{{ messages|selectattr('tool_calls','defined')|list|length }}{{ messages|selectattr('tool_calls')|list|length }}",
    "{{ ''|default('x', true) }}{{ ''|default('x') }}|{{ nope|default('y') }}{{ none|default('z') }}{{ none|d('z', true) }}{{ 0|default(5, boolean=true) }}",
    "{{ [1,2]|first }}{{ [1,2]|last }}{{ [1,2]|sum }}{{ 'abc'|length }}{{ 'abc'|reverse }}{{ [1,2,3]|reverse|list }}{{ '  a '|trim }}{{ 'a b'|replace(' ', '_') }}{{ 'x'|indent(2) }}{{ 'a\\nb'|indent }}|{{ 'a\\nb'|indent(2, true) }}{{ [1,1,2]|unique|list }}{{ [1,2,3,4,5]|batch(2)|list }}{{ 3.7|int }}{{ '3'|int + 1 }}{{ 3|float }}{{ 3.14159|round(2) }}{{ -3|abs }}{{ 'a'|string }}{{ 'x'|upper }}{{ [[1,2],[3]]|map('first')|list }}{{ messages|groupby('role')|map('first')|list }}{{ 'a<b'|e }}{{ 'a<b'|safe }}{{ 'abc'|list }}{{ [2,1]|min }}{{ [2,1]|max }}{{ 'foo bar'|title }}{{ 'foo bar'|capitalize }}",
    "A{% generation %}{{ messages[1].content }}{% endgeneration %}B",
    "{%- for m in messages %}\n  {%- if m.role == 'assistant' %}\n  {% generation %}\n  {{ m.content }}\n  {% endgeneration %}\n{% endif %}\n{%- endfor %}\nx",
    "{{ raise_exception('no') }}",
    "{{ true }}{{ false }}{{ none }}{{ True }}{{ None }}{{ 1.0 }}{{ 1/2 }}{{ 7//2 }}{{ 7%3 }}{{ 2**3 }}{{ 1e3 }}{{ -7//2 }}{{ -7%3 }}",
    "{{ [1,'a',none,true,{'k':'v\\'q'}] }}{{ ('a',1) }}{{ {'a':[1.5]} }}{{ ['it\\'s', \"d\\\"q\", 'n\\n'] }}",
    "{{ 'a' ~ 1 ~ none ~ true }}{{ 'a' + 'b' }}{{ [1]+[2] }}{{ 'ab' * 2 }}{{ 'x' in 'xyz' }}{{ 'role' in messages[0] }}{{ 1 in [1] }}{{ 1 not in [1] }}{{ not none }}{{ 1 < 2 < 3 }}{{ 1 == 1.0 }}{{ 'a' if false }}|{{ 'a' if false else 'b' }}",
    "{{ undefinedx }}|{{ messages[0].nope }}|{{ messages[0]['nope'] }}|{{ messages[99] is defined }}|{{ (undefinedx or 'o') }}|{{ undefinedx is undefined }}",
    "{{ undefinedx.y }}",
    "{{ messages[0].nope.x }}",
    "{{ messages[99].role }}",
    "{{ undefinedx + 'a' }}",
    "{% for x in undefinedx %}a{% endfor %}b",
    "{{ undefinedx|length }}",
    "{%- set x = 'a' -%}\n  {{- x }}\n\n{% if true %}\n  y\n{% endif %}\n  {# c #}\n z\n",
    "{% set x %}block {{ 1 }}{% endset %}{{ x }}{{ x|length }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% if true %}{% set q = 1 %}{% endif %}{{ q }}{% for i in [1] %}{% set q = 2 %}{% endfor %}{{ q }}",
    "{% set x = [] %}{% set _ = x.append(1) %}{{ x }}{% set d = {} %}{% set _ = d.update({'a':1}) %}{{ d }}",
    "{% filter upper %}abc{% endfilter %}",
    "{% with a=1 %}{{ a }}{% endwith %}",
    "{% raw %}{{ x }}{% endraw %}",
    "{{ range(3)|list }}{{ range(1,6,2)|list }}{% for i in range(3) %}{{ i }}{% endfor %}{{ range(5,0,-2)|list }}{{ dict(a=1, b=2) }}{{ namespace(a=1).a }}",
    "{{ messages[0]['content'] | trim }}{{ messages[4].content[0]['text'] }}{{ messages[4].content is string }}{{ messages[4].content is iterable and messages[4].content is not mapping }}",
    "{{- '<|im_start|>' + messages[0].role + '\\n' -}}\nx",
    "{{ messages[1]['content'].split('a')[0] }}{{ messages|length - 1 }}{{ (messages|length - 1)|string + 'x' }}",
    "{{ messages[2].content.split('</think>')|last }}{{ messages[2].content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}",
    "{{ 'abc' is in 'xabc' }}{{ 3 is divisibleby(3) }}{{ 2 is even }}{{ 2 is eq(2) }}{{ 2 is gt 1 }}{{ 'a' is lower }}{{ f is callable }}{{ raise_exception is callable }}{{ strftime_now is defined }}",
    "{% for a, b in [(1,2),(3,4)] %}{{ a }}{{ b }}{% endfor %}{{ [(1,2)]|list }}{% for x in 'abc' %}{{ x }}{% endfor %}{% for k in messages[0] %}{{ k }}{% endfor %}",
    "{% for a in [1,2] recursive %}{{ a }}{% endfor %}{% for a in [1,2] %}{% for b in [1,2] %}{{ loop.index }}{% endfor %}{{ loop.index }}{{ loop.depth }}{% endfor %}",
    "{{ 'é'|upper }}{{ 'ß'.upper() }}{{ 'İ'.lower()|length }}{{ '日本'[0] }}{{ '日本'|length }}{{ '👍🏽'|length }}",
    "{{ {'a': {'b': 1}}.a.b }}{{ {'items': 1}['items'] }}{{ {'get':1}.get('get') }}",
    "{{ (1,2,3)[1:] }}{{ 'abc'.index('c') }}{{ [1,2,1].count(1) }}{{ [1,2].index(2) }}{{ {'a':1}.copy() }}{{ [1,2].copy() }}{{ [3,1].pop() }}",
    "{{ messages | tojson | length }}{{ (tools[0].function.parameters.properties.keys() | list)|join(', ') }}{{ tools[0]['function'] | tojson | safe }}",
    "{{ 'a' 'b' }}",
    "{{ 1_000 }}",
    "{{ \"a\\u00e9\\x41\\n\" }}",
    "{{ 5 | string | length }}{{ 1.5|string }}{{ 100000000000000000000 }}{{ 0.1 + 0.2 }}{{ 1e15 }}{{ 3|round }}{{ 2.5|round }}{{ 3.5|round|int }}",
    "{{ messages[0].content|replace('é','e')|replace('✓','ok') }}{{ 'aaa'|replace('a','b',1) }}",
    "{%- if not date_string is defined %}{%- set date_string = '26 Jul 2024' %}{%- endif %}{{ date_string }}",
    "{{ messages[0] is mapping and 'role' in messages[0] }}{{ messages[2].tool_calls is defined and messages[2].tool_calls is not none }}{{ messages[2].tool_calls|length == 1 }}{{ messages[3].content is string and messages[3].content.startswith('{') }}",
    "{{ 'x' if messages[0].role == 'system' and messages|length > 1 else 'y' }}{{ loop_messages is defined }}",
    "{{ 'abc'|first }}{{ 'a-b'|replace('-', '') }}{{ ['a','b']|join(', ') }}{{ [{'n':1},{'n':2}]|sum(attribute='n') }}{{ [{'n':'b'},{'n':'a'}]|sort(attribute='n')|map(attribute='n')|join }}{{ [{'n':1}]|join(',', attribute='n') }}{{ 'a,b'.split(',')|map('trim')|list }}",
    "{{ 'A'|attr('x') is defined }}",
    "{{ 'abc'|truncate(2) }}",
    "{{ '%.2f'|format(3.14159) }}{{ '%s'|format('x') }}",
    "{{ '{:>5}|{:.2f}|{x}'.format('a', 2.0, x=1) }}",
    "{{ 1 if true else }}",
    "{% include 'x' %}",
    "{{ messages.__class__ }}",
    "{% do messages.append(1) %}",
    "{% set x = messages|list %}{{ x|length }}{% set y = messages + [{'role':'q'}] %}{{ y[-1].role }}",
    "{{ ([1,2] + [3])|length }}{{ [1,[2]]|string }}{{ 'a'|string|tojson }}{{ true|tojson }}{{ none|tojson }}{{ 1.50|tojson }}{{ undefinedx is not defined or undefinedx }}",
]

# Each expression is a template of its own, so that a difference shows where it is. Left out, because Minke's results differ: urlize,
# lipsum, autoescape, printed `range` and groups, errors of types that cannot be compared, chained tests, signs before truth values,
# macro defaults that name other parameters, and unpacked text.
EXPRESSIONS = r'''
"%.2f" % 3.14159
"%d" % 3.99
"%5d|%-5d|%05d|%+d" % (1, 2, 3, 4)
"%s and %s" % ("a", none)
"%s" % [1, none]
"%s" % {'a': 1.5}
"%r" % 'a'
"%x %X %o %#x" % (255, 255, 8, 255)
"%e|%g|%G" % (12345.678, 0.00001, 1e20)
"%c%c" % ('a', 98)
"100%%" % ()
"%(a)s-%(b)03d" % {'a': 'x', 'b': 7}
"%5s|%-5s|%.2s" % ('a', 'b', 'xyz')
"%s" % (1,)
"%s %s" % (1,)
"%d" % 'a'
"%s" % ('a' ~ 'b')
"%s" % 5 ~ "x"
"%s" % 'a' | upper
10 % 3
-10 % 3
2 * 7 % 4
7 % 4 * 2
messages|length % 2
(messages|length) % 2 == 1
loop_index0|default(4) % 2
"%s%s" % (1, 2) + "x"
"%i" % 7
"%.3s|%10.4f|%-8s|" % ("abcdef", 3.14159, "x")
"%s" % true
"%%|%s" % 'q'
"%a" % 'é'
"%.0f" % 2.5
"%.1f" % 0.25
"%g" % 100000
"%g" % 1000000
"%g" % 0.0001
"% d" % 5
"%*d" % (5, 3)
"%s".upper() % 1
'abcabc'.index('c')
'abcabc'.rindex('c')
'abcabc'.index('x')
'abcabc'.rindex('x')
'abcabc'.find('c', 3)
'abcabc'.find('c', 3, 5)
'abcabc'.rfind('a', 1)
'abcabc'.count('a', 1)
'abcabc'.count('')
'42'.zfill(5)
'-42'.zfill(5)
'+4'.zfill(4)
'abc'.zfill(2)
'ab'.ljust(5) ~ '|'
'ab'.rjust(5)
'ab'.center(5)
'ab'.center(6)
'abc'.center(6)
'abc'.center(6, '*')
'ab'.ljust(5, '.')
'ab'.rjust(5, '.')
'ab'.rjust(1)
'ab'.ljust(5, 'xx')
'Straße'.casefold()
'ΣΊΣΥΦΟΣ'.casefold()
'ﬁ'.casefold()
'İı'.casefold()
'aBc'.swapcase()
'a\tb'.expandtabs()
'a\tb\tc'.expandtabs(4)
'a,b,c'.split(sep=',')
'a,b,c'.split(',', maxsplit=1)
'a b  c'.split(maxsplit=1)
'a b  c '.split(none, 1)
'a,b,c'.rsplit(',', maxsplit=1)
'a,b,c'.rsplit(sep=',', maxsplit=1)
''.split()
''.split(',')
'  '.split()
' a '.split(' ')
'abc'.split('')
'abc'.startswith('b', 1)
'abc'.startswith('c', 1, 2)
'abc'.startswith(('x', 'b'), 1)
'abc'.endswith('b', 0, 2)
'abc'.endswith(('x', 'c'))
'abc'.startswith('')
'abc'.startswith(['a'])
"it's a o'neil".title()
"ab3cd".title()
"hello WORLD".title()
'éa ñb'.title()
"it's" | title
"hello wORLD-foo bar_baz" | title
"ab3cd (ef) [gh]" | title
'hELLO wORLD'.capitalize()
'éA'.capitalize()
''.capitalize()
'abc'.istitle()
'Abc Def'.istitle()
'a1'.isidentifier()
'1a'.isidentifier()
'12'.isdecimal()
'½'.isnumeric()
'²'.isdigit()
'²'.isdecimal()
'٣'.isdigit()
'a b'.isprintable()
'a\n'.isprintable()
'abc'.isascii()
'é'.isascii()
''.isalpha()
'éa'.isalpha()
'Aé'.islower()
'1a'.islower()
'1'.islower()
'a\nb\r\nc\rd'.splitlines()
'a\nb\n'.splitlines()
'a\nb\n'.splitlines(true)
'a\x0bb\x0cc\x1cd\x85e\u2028f'.splitlines()
'abc'.partition('b')
'abc'.rpartition('x')
'abc'.removeprefix('ab')
'abc'.removesuffix('bc')
'a-b'.replace('-', '')
'aaa'.replace('a', 'b', 2)
'aaa'.replace('', '-')
'abc'.join('xyz')
'-'.join(['a', 1])
'-'.join({'a': 1, 'b': 2})
'{} {}'.format('a', 1)
'{0}{1}{0}'.format('a', 'b')
'{a}'.format(a=1)
'{:>5}'.format('a')
'{:,}'.format(1234567)
'{:.2f}'.format(3.14159)
'{:05d}'.format(42)
'{a[b]}'.format(a={'b': 1})
'{a.b}'.format(a={'b': 1})
'{:x}'.format(255)
'{!r}|{!s:>4}|{!a}'.format('a', 'b', 'é')
'{:%}|{:.1%}'.format(0.25, 0.5)
'{0[1]}{a.b}{a[b]}'.format([1, 2], a={'b': 3})
'{:{w}}|'.format('a', w=4)
'{'.format()
'{} {}'.format(1)
'{x}'.format()
'{:+d}|{:^7}|{:*<4}|{:e}'.format(3, 'ab', 'c', 12345.678)
'{}'.format(true) ~ '{:d}'.format(true)
'{}'.format(1e16)
'{}'.format(none)
'{}'.format([1, 'a'])
'{{}}'.format()
'a{}'.format_map({})
'abc'.upper
'abc'.translate({97: 'x'})
'xyz'.strip('xz')
' \n\ta'.strip()
'\u00a0a\u2003'.strip()
'abc'.strip(none)
'aabaa'.lstrip('a')
'aabaa'.rstrip('a')
'abc'.encode()
'abc'.encode('utf-8')|length
'abc'[0]
'abc'[5]
'abc'[-1]
'abc'[1:]
'abcdef'[::2]
'abcdef'[4:1:-1]
'abc' * 2
2 * 'abc'
'abc' * -1
[1, 2, 1].index(1)
[1, 2, 1].index(1, 1)
[1, 2, 1].index(5)
[1, 2, 1].count(1)
[1, 2].copy()
[1, 2].append(3)
[2, 1].sort()
[2, 1].reverse()
[1].extend([2])
[1].insert(0, 2)
[1].remove(1)
[1].clear()
{'b': 1, 'a': 2}.items()
{'b': 1, 'a': 2}.keys()
{'b': 1, 'a': 2}.values()
{'b': 1, 'a': 2}.items()|list
{'b': 1, 'a': 2}.keys()|list
{'b': 1}.copy()
{'b': 1}.get('b')
{'b': 1}.get('x')
{'b': 1}.get('x', 'd')
{'b': 1}.pop('b')
{'b': 1}.update({'c': 2})
{'b': 1}.setdefault('c', 2)
{}.items()
{'a': 1}.items()|first
{'a': 1}.keys()|length
{'a': 1}.keys() is sequence
{'a': 1}.items() is iterable
{'items': 1}.items()|list
{'keys': 1, 'get': 2}.get('keys')
{'items': {'type': 'x'}}.items
{'items': {'type': 'x'}}['items'].type
{'values': [1]}.values is defined
messages[0].items is defined
messages[0].content.length is defined
messages[0].length is defined
messages[0].nosuch is defined
messages[0].role.upper is defined
'abc'.nosuch is defined
'abc'.nosuch()
{'a': 1}.nosuch()
none.x
{'a': {'keys': 1}}.a.keys is callable
{'type': 'array', 'items': {'type': 'string'}}.items is mapping
1e16
1e15
1e22
1e-4
1e-5
1e-7
1.5e300
-1e16
123456789.0
0.1 + 0.2
1e16 ~ ''
'' ~ 1e-7
1e16|string
[1e16, 1e-7, 1.0]
{'a': 1e22}
(1e16, )
[1e16]|join(',')
1e16|tojson
1e16|int
2.0 ** 70
10 ** 20
1 / 3
2 / 1
1e308 * 10
-1e308 * 10
5.0 // 2
5 // 2.0
7.5 % 2
-7.5 % 2
2 ** 0.5
2 ** -1
1_000.5
0x10
0b11
0o17
1.5e3
3|float
'3.5'|float
'x'|float
'x'|float(1.5)
'0x1A'|int(base=16)
'1e3'|int
'12.7'|int
'ff'|int(0, 16)
none|int
2.5|round
3.14159|round(2)
3.14159|round(2, 'floor')
3.14159|round(2, 'ceil')
42|round
42.55|round(1)
1234.5|round(-2)
-2.5|abs
true + 1
true * 3
not 1
"\U0001F600"
"\a\b\f\v\0"|length
"\x41\u00e9\101"
"\N{BULLET}\N{EM DASH}"
"\N{LATIN SMALL LETTER E WITH ACUTE}"
"\N{NO SUCH NAME}"
"\q\/\."
'\''
"\"\\"
'a''b'
"a" "b" 'c'
'a\u0000b'|length
'hello world foo'|truncate(9)
'hello world foo'|truncate(9, true)
'hello world foo'|truncate(9, false, '!')
'hello world foo'|truncate(11, false, '...', 0)
'hello world foo'|truncate(11)
'hello'|truncate(10)
'a b  c\n d'|wordcount
''|wordcount
"it's me"|wordcount
'abc'|center(9)
'abc'|center(4)
'abc'|center
'<a href="x">b</a>  c &amp; d'|striptags
'a<!-- x -->b'|striptags
'x y&z/é?'|urlencode
{'a': 1, 'b c': 'd&'}|urlencode
[('a', 1), ('b', 2)]|urlencode
1|filesizeformat
1000|filesizeformat
1234567|filesizeformat
1234567|filesizeformat(true)
1e12|filesizeformat
2|filesizeformat(binary=true)
'a b c d'|wordwrap(3)
'abcdefgh'|wordwrap(3)
'abcdefgh'|wordwrap(3, false)
'aaa bbb ccc'|wordwrap(7, wrapstring='|')
'aa\n\nbb cc'|wordwrap(4)
'foo-bar baz'|wordwrap(5)
{'class': 'a', 'x': none, 'y': 1}|xmlattr
{'a b': 1}|xmlattr
{}|xmlattr
{'a': '<"\''}|xmlattr(false)
3|pprint
[1, 'a', {'b': none}]|pprint
'a'|pprint
{'b': 1, 'a': 2}|pprint
'a<b>&"\''|escape
'a<b>&"\''|e
'a<b'|forceescape
'%s=%d'|format('a', 3)
'%(x)s'|format(x=1)
'x'|format
[1, 2, 3]|random in [1, 2, 3]
[3, 1, 2]|sort
['b', 'A', 'c']|sort
['b', 'A', 'c']|sort(case_sensitive=true)
['b', 'A', 'c']|sort(reverse=true)
[{'a': {'b': 2}}, {'a': {'b': 1}}]|sort(attribute='a.b')
[{'a': 1, 'b': 2}, {'a': 1, 'b': 1}]|sort(attribute='a,b')
{'b': 1, 'a': 2}|dictsort
{'b': 1, 'A': 2}|dictsort
{'b': 1, 'A': 2}|dictsort(true)
{'b': 1, 'a': 2}|dictsort(by='value')
{'b': 1, 'a': 2}|dictsort(reverse=true)
[1, 2, 3, 4, 5]|batch(2, 'x')|list
[1, 2, 3, 4, 5]|slice(2)|list
[1, 2, 3, 4, 5]|slice(3, 'x')|list
[1, 2]|sum(start=10)
[{'x': 1}, {'x': 2}]|sum('x')
['a', 'A', 'b']|unique|list
['a', 'A', 'b']|unique(true)|list
[{'x': 1}, {'x': 1}]|unique(attribute='x')|list
[1, 2]|min
[]|min
[{'x': 2}, {'x': 1}]|min(attribute='x')
['b', 'A']|max
'abc'|first
[]|first
[]|last
'abc'|last
[1, 2, 3]|last
[1, 2, 3]|length
'abc'|list
{'a': 1}|list
'abc'|reverse
[1, 2]|reverse|list
['a', 'b']|join
['a', 'b']|join('-')
[{'n': 1}]|join('-', attribute='n')
[{'n': 1}]|map(attribute='n')|list
[{'n': 1}]|map(attribute='m')|list
[{'n': 1}]|map(attribute='m', default=0)|list
[[1, 2]]|map(attribute=0)|list
['a', 'b']|map('upper')|list
['a', 'b']|map('replace', 'a', 'x')|list
[1, 2, 3]|select('gt', 1)|list
[1, 2, 3]|select('divisibleby', 2)|list
[0, 1, '']|reject|list
[1, none]|reject('none')|list
[{'a': 1}, {'a': 2}]|selectattr('a', 'gt', 1)|list
[{'a': 1}, {}]|selectattr('a', 'undefined')|list
[{'a': {'b': 1}}]|selectattr('a.b')|list
[{'a': 1}, {'a': 2}]|rejectattr('a', 'equalto', 1)|list
[{'a': 1}, {'a': 2}, {'a': 1}]|groupby('a')|map('last')|list
[{'a': 1}, {}]|groupby('a', default=0)|map('first')|list
'a\nb'|indent
'a\nb'|indent(2)
'a\nb'|indent(2, true)
'a\n\nb'|indent(2)
'a\n\nb'|indent(2, blank=true)
'a\nb'|indent('>> ')
'  a '|trim
'xxaxx'|trim('x')
'abc'|replace('b', 'x')
'aaa'|replace('a', 'b', 2)
'abc'|upper
'ABC'|lower
'abc def'|capitalize
1|string
none|string
true|string
'a'|attr('b')
{'a': 1}|attr('a')
{'a': 1}|items|list
none|items|list
[1, 2]|count
undefinedx|count
'abc'|safe
'a'|default('b')
undefinedx|default('b')
''|default('b', true)
none|default('b')
[1, 2] is sequence
'a' is sequence
{} is mapping
1 is number
1.0 is float
1 is integer
true is integer
true is number
true is boolean
none is none
undefinedx is undefined
'a' is string
[] is iterable
1 is iterable
1 is odd
2 is even
4 is divisibleby 2
1 is eq 1
1 is ne 2
1 is lt 2
1 is le 1
2 is gt 1
2 is ge 2
1 is lessthan 2
2 is greaterthan 1
1 is in [1]
'A' is upper
'a' is lower
1 is sameas 1
'a' is escaped
'upper' is filter
'nosuch' is filter
'odd' is test
range is callable
1 is not none
not 1 is none
1 in [1] and 2 not in [1]
'a' in {'a': 1}
1 == 1.0
'1' == 1
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1} == {'a': 1}
1 < 2 < 3
'a' < 'b'
[1, 2] < [1, 3]
1 if true
1 if false
1 if false else 2
'a' if undefinedx else 'b'
0 or 'x'
1 and 0
none or []
not none
1 + 1.5
'a' + 1
[1] + [2]
(1,) + (2,)
[1] * 2
'a' ~ [1] ~ none ~ true ~ 1.0
1 - 2 - 3
2 ** 3 ** 2
-2 ** 2
7 // 2
-7 // 2
1 / 0
1 // 0
1 % 0
[1, 2, 3][1]
[1, 2, 3][-1]
[1, 2, 3][9]
[1, 2, 3][0:2]
[1, 2, 3][::-1]
(1, 2, 3)
(1, )
()
[]
{}
{'a': 1}.a
{'a': 1}['a']
{'a': 1}['b']
{'a': 1}.b.c
{1: 'a'}[1]
{'a': 1, 'a': 2}
{none: 1, true: 2, 1.5: 3}
range(3)|list
range(1, 4)|list
range(10, 0, -3)|list
range(0)|list
range(5)[1]
range(5)|length
dict(a=1, b=2)
dict({'a': 1}, b=2)
dict([('a', 1)])
namespace(a=1).a
cycler('a', 'b').next()
joiner(', ')()
strftime_now is callable
raise_exception is defined
messages|map(attribute='role')|unique|list
messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|first
tools|map(attribute='function')|map(attribute='name')|join(', ')
tools[0].function.parameters.properties.items()|list
tools[0].function.parameters.required|tojson
messages|last|tojson
[none, true, 1.5, 'é']|tojson
{'é': '<&>'}|tojson
(1, 2)|tojson
{'a': [1, {'b': 2}]}|tojson(indent=2)
messages[0]|tojson(sort_keys=true)
undefinedx|tojson
{'a': 1}.items()|tojson
[1, 2]|tojson(separators=(',', ':'))
'a'|tojson(true)
messages.0.role
messages.0
'abc'.0
messages|length|string ~ 'x'
(messages|length)|string
1.0|string
1.0|int
'1'|int + 1
[1, [2, [3]]]|string
['it\'s', "q\"", 'both\'"', '\n\t\\', 'é\u200b\x7f']
{'a': none, 'b': true}
'\u00ad\ufeff\U0001F600'|list
loop is defined
'abc' is defined
caller is defined
foo.bar is defined
messages[99] is defined
messages['x'] is defined
messages[0]['x'] is defined
'' is none
messages is iterable and messages is not string and messages is not mapping
messages[4].content is sequence and messages[4].content is not string
'x' is string and not 'x' is none
'a'.isalpha() and 'a'.upper() == 'A'
[1, 2, 3]|map('string')|join(', ')
['x']|map('length')|first
'a,b'|replace(',', '\n')
"\n".join(['a', 'b'])
'a\n'|trim ~ '|'
('a' ~ 'b')|upper
'a' ~ 'b'|upper
-1|abs
(-1)|abs
1 + 2|string
'x'|upper|lower
{'a': 'b'}|dictsort|first|last
[[1, 'a'], [2, 'b']]|map('first')|list
[('a', 1), ('b', 2)]|map(attribute='1')|list
'%s'|format(1e16)
'abc'|batch(2)|list
{'a': 1}|length
true|lower
none|upper
3|lower
1.5|int
'ab'|map('upper')|join
'a b'.split()|map('capitalize')|join(' ')
namespace()
'ab'.upper().lower().title()
('a', 'b')|join
[1, 2]|join(', ')|length
{'x': 1}|tojson|length
"a" if 1 is defined and 2 is defined else "b"
'a' not in 'b'
[] is sequence
messages[1:]|length
messages[::2]|map(attribute='role')|list
messages[-1].role
messages[:-1][-1].role
"tool" in messages|map(attribute="role")
'x' in {'x': 1}.keys()
'user' in messages|map(attribute='role')|list
'abc'|wordcount ~ 'x'
1 is true
'' is true
false is false
none is undefined
undefinedx is none
undefinedx == none
undefinedx or 'x'
undefinedx|length
undefinedx|list
undefinedx|join
undefinedx|upper
undefinedx ~ 'x'
undefinedx == undefinedx
not undefinedx
undefinedx in [1]
[undefinedx]
'x' if undefinedx is defined else 'y'
'''.strip("\n").split("\n")

BLOCKS = [
    "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}",
    "{% macro f(a) %}{{ a }}{{ varargs|join(',') }}{% endmacro %}{{ f(1) }}|{{ f(1, 2) }}",
    "{% macro f() %}{% for k, v in kwargs.items() %}{{ k }}={{ v }} {% endfor %}{% endmacro %}{{ f(a=1, b='x') }}",
    "{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1, 2, 3) }}",
    "{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1, c=3) }}",
    "{% macro f(a) %}{{ a is defined }}{% endmacro %}{{ f() }}",
    "{% macro f(x) %}{{ caller(x) if caller else 'none' }}{% endmacro %}{% call(y) f(3) %}<{{ y }}>{% endcall %}{{ f(1) }}",
    "{% macro f(a) %}{{ kwargs.get('b', 'd') }}{% endmacro %}{{ f(1, b=2) }}{{ f(1) }}",
    "{% macro f(n) %}{{ n }}{{ varargs|length }}{% if n %}{{ f(n - 1, 1, 2) }}{% endif %}{% endmacro %}{{ f(2) }}",
    "{% macro a() %}x{% endmacro %}{{ a.name }}{{ a is callable }}",
    "{% for k, v in tools[0].function.parameters.properties.items() %}{{ k }}:{{ v.type }};{% endfor %}",
    "{% for k, v in {'items': 1, 'keys': 2}.items() %}{{ k }}{{ v }}{% endfor %}",
    "{% set d = {'items': {'type': 'x'}, 'values': 3} %}{% for k in d.keys() %}{{ k }}{% endfor %}{{ d['items'].type }}",
    "{% for x in 'a b'.split() %}{{ loop.index }}{{ x }}{% endfor %}",
    "{% set x = '%s-%s' % (1, 'a') %}{{ x }}{% if '%d' % 3 == '3' %}y{% endif %}",
    "{% if 5 % 2 == 1 %}odd{% endif %}{% for i in range(4) if i % 2 == 0 %}{{ i }}{% endfor %}",
    "{% if (loop_count|default(3) % 2 == 0) != true %}x{% endif %}",
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}a{% else %}b{% endif %}{% endfor %}",
    "{% set x -%} a {%- endset %}[{{ x }}]",
    "{% set x | upper | trim %} a {% endset %}[{{ x }}]",
    "{% filter replace('a', 'b') | upper %}aac{% endfilter %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% set ns = namespace(a=[]) %}{% for i in range(3) %}{% set ns.a = ns.a + [i * 1e16] %}{% endfor %}{{ ns.a }}",
    "{% for x in [1e16, 1e-7] %}{{ x }} {% endfor %}",
    "{% set x = 1e16 %}{{ x }}{{ x ~ '' }}{{ [x] }}",
    "{% if true %}\r\n  a\r\n{% endif %}\r\nb",
    "{# a #}\n{#- b -#}\nx",
    "{%- if true -%} a {%- else -%} b {%- endif -%} c",
    "{% if true %}a{% elif false %}b{% else %}c{% endif %}",
    "{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in range(3) %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in [] %}x{% else %}e{% endfor %}",
    "{% set a = 1 %}{% for i in [1] %}{% set a = 2 %}{% endfor %}{{ a }}",
    "{% set x = 1 if true else 2 %}{{ x }}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}",
    "{% raw %}{{ '%s' % x }}{% endraw %}",
    "{{ '{% if x %}' }}{{ '{{' }}{{ '#}' }}",
    "{{ {'a': {'b': [1, {'c': 'd}'}]}} }}",
    "{{ '%' }}{{ \"%}\" }}{{ '100%' ~ 1 }}",
    "{% block x %}a{% endblock %}",
    "{% set x = cycler('a', 'b') %}{{ x.next() }}{{ x.next() }}{{ x.next() }}",
    "{% set j = joiner(';') %}{% for i in range(3) %}{{ j() }}{{ i }}{% endfor %}",
    "{% set content = messages[0].content %}{% if content is string %}{{ content|trim }}{% else %}{% for c in content %}{{ c.text }}{% endfor %}{% endif %}",
    "{{ messages[0].content.strip().split(' ')[0].upper() }}",
]
# Every template shows the messages where `only` is not set: one that leaves them out is refused.
FRAME = ("{% if only %}", "{% else %}{% for m in messages %}{{ m.content }}{% endfor %}{% endif %}")
cases = []
for template in TEMPLATES + ["{{ " + e + " }}" for e in EXPRESSIONS] + BLOCKS:
    copy = json.loads(json.dumps(dict(messages=MESSAGES, tools=TOOLS)))
    try:
        rendered = _compile_jinja_template(FRAME[0] + template + FRAME[1]).render(
            **copy, documents=None, add_generation_prompt=True, only=True, bos_token="<s>", eos_token="</s>")
        # Addresses that Python prints differ between runs.
        cases.append(dict(template=template, rendered=re.sub(r"0x[0-9a-f]{6,}", "0x0", rendered)))
    except Exception as e:
        cases.append(dict(template=template, error=f"{type(e).__name__}: {e}"))
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates.json")
with open(path, "w") as f:
    json.dump(dict(frame=FRAME, messages=MESSAGES, tools=TOOLS, cases=cases), f, indent=1)
    f.write("\n")
print(len(cases), "templates,", sum("error" in c for c in cases), "refused")
