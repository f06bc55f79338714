#!/usr/bin/env python3
"""Makes templates.json beside it: what transformers' Jinja (PyPI transformers 5.23, Jinja2 3.1.6) renders of small templates.

    python3 tests/templates.py
"""
import json
import os

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

# Every template shows the messages where `only` is not set: one that leaves them out is refused.
FRAME = ("{% if only %}", "{% else %}{% for m in messages %}{{ m.content }}{% endfor %}{% endif %}")
cases = []
for template in TEMPLATES:
    template = FRAME[0] + template + FRAME[1]
    copy = json.loads(json.dumps(dict(messages=MESSAGES, tools=TOOLS)))
    try:
        rendered = _compile_jinja_template(template).render(
            **copy, documents=None, add_generation_prompt=True, only=True, bos_token="<s>", eos_token="</s>")
        cases.append(dict(template=template, rendered=rendered))
    except Exception as e:
        cases.append(dict(template=template, error=f"{type(e).__name__}: {e}"))
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates.json")
with open(path, "w") as f:
    json.dump(dict(messages=MESSAGES, tools=TOOLS, cases=cases), f, indent=1)
    f.write("\n")
print(len(cases), "templates,", sum("error" in c for c in cases), "refused")
