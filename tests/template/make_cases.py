#!/usr/bin/env python3
"""Writes cases.json: what Python's Jinja2 makes of small templates, each for one rule of the language.

    python3 tests/template/make_cases.py > tests/template/cases.json
"""
import json
import sys

from oracle import environment

NOW = 1790000000
VARIABLES = {
    "s": "Hello World", "e": "", "n": 3, "f": 2.5, "l": [3, 1, 2],
    "d": {"b": 1, "a": {"x": [1, 2]}, "items": 7}, "none": None, "t": True,
    "u": "naïve ß 日本\n two\tx",
    "ll": [{"n": "B", "v": 2}, {"n": "a", "v": 1}, {"n": "C", "v": None}],
    "big": 18446744073709551615, "ws": " \u00a0 a b  c \n",
    "fs": [0.1, 1e16, 1e-7, 100.0, -0.0, 1e22, 123456789.123],
}
TEMPLATES = [
    '{{ s }} {{ n }} {{ f }} {{ l }} {{ d }} {{ none }} {{ t }} {{ u }} {{ big }} {{ fs }}',
    '{{ missing }}|{{ missing is defined }}|{{ missing.x }}',
    '{{ s[0] }}{{ s[-1] }}{{ s[1:4] }}{{ s[::-1] }}{{ s[::2] }}{{ s[10:2:-3] }}{{ s[-3:] }}{{ s[:100] }}',
    '{{ u[::-1] }}{{ u|length }}{{ u[0:3] }}',
    '{{ l[::-1] }}{{ l[5:] }}{{ l[-1] }}{{ l[9] }}',
    '{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 7 / 2 }} {{ 1 + 2 * 3 }} {{ -2 ** 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}',
    '{{ 1 / 0 }}',
    "{{ 'a' 'b' ~ 1 ~ none ~ t }} {{ 'x' * 3 }} {{ [1] * 2 + [3] }} {{ (1,) }} {{ (1, 2) }} {{ () }} {{ {} }} {{ {'a': 1, 2: 'b', none: t} }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' in s }} {{ 'H' in s }} {{ 3 in l }} {{ 'b' in d }} {{ 'z' not in d }} {{ 1 == 1.0 }} {{ t == 1 }} {{ none == missing }}",
    "{{ not t }} {{ t and 5 }} {{ e or 'dflt' }} {{ none and 1 }} {{ 'yes' if t else 'no' }} {{ 'yes' if e }}|",
    "{{ s|upper }}{{ s|lower }}{{ u|upper }}{{ u|title }}{{ 'hELLO wORLD-foo (bar)'|title }}{{ 'hELLO'|capitalize }}{{ 'hELLO wo3rld'.title() }}",
    "{{ ws|trim }}|{{ ws.strip() }}|{{ ws.lstrip() }}|{{ ws.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'|trim('a') }}",
    "{{ ws.split() }}{{ 'a,b,,c'.split(',') }}{{ 'a b c d'.split(' ', 2) }}{{ ' a  b c '.split(None, 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ u.splitlines() }}{{ 'a.b'.partition('.') }}{{ 'ab'.partition('.') }}",
    "{{ s.startswith('He') }}{{ s.endswith(('x','ld')) }}{{ s.find('o') }}{{ s.rfind('o') }}{{ s.count('l') }}{{ s.replace('l', 'L', 2) }}{{ s|replace('o', '0') }}{{ 'abc'.replace('', '-') }}",
    "{{ ', '.join(['a','b']) }}{{ l|join('-') }}{{ l|join }}{{ ll|join(',', attribute='n') }}{{ ''.join([1]) }}",
    "{{ '%s is %d and %.2f %5s|%-5s|%05d %x %r %%' % ('a', 3, 2.5, 'r', 'l', 42, 255, 'q') }}{{ '%s' % s }}{{ '%s %s'|format('a', 'b') }}",
    "{{ '{} {} {}'.format(1, 'b', none) }}{{ '{0}{1}{0}'.format('a','b') }}{{ '{x}'.format(x=4) }}{{ '{:02d}:{:.2f}|{:>5}|{:<5}|'.format(3, 2.345, 'r', 'l') }}{{ '{{}}'.format() }}",
    "{{ l|sort }}{{ l|sort(reverse=true) }}{{ ll|sort(attribute='v') }}",
    "{{ ll|sort(attribute='n')|map(attribute='n')|list }}{{ ['b','A','c']|sort }}{{ ['b','A','c']|sort(case_sensitive=true) }}",
    "{{ {'b':1,'A':2,'c':0}|dictsort }}{{ {'b':1,'A':2,'c':0}|dictsort(by='value') }}{{ {'b':1,'a':2}|dictsort(reverse=true) }}",
    "{{ [1,2,1,'a','A']|unique|list }}{{ l|min }}{{ l|max }}{{ l|sum }}{{ ll|map(attribute='v')|select('number')|sum }}{{ []|min }}",
    "{{ ll|selectattr('v')|map(attribute='n')|join }}{{ ll|selectattr('v','equalto',1)|list }}{{ ll|rejectattr('v','none')|list|length }}{{ l|select('gt', 1)|list }}{{ l|reject('odd')|list }}{{ ll|map(attribute='q', default='D')|join }}{{ ['a','b']|map('upper')|join }}",
    '{{ d|tojson }}{{ d|tojson(indent=2) }}{{ fs|tojson }}{{ u|tojson }}{{ u|tojson(ensure_ascii=true) }}{{ [none,t,1.0,\'"\\\\/\']|tojson }}{{ {\'b\':1,\'a\':2}|tojson(sort_keys=true, separators=(\',\',\':\')) }}{{ []|tojson(indent=1) }}{{ \'😀\'|tojson(ensure_ascii=true) }}',
    '{{ missing|tojson }}',
    '{{ s|length }}{{ l|count }}{{ d|length }}{{ missing|length }}{{ n|length }}',
    "{{ missing|default('x') }}{{ e|default('x') }}{{ e|default('x', true) }}{{ none|d('y', boolean=true) }}{{ missing|default }}",
    "{{ 'a\\nb\\n\\nc'|indent }}|{{ 'a\\nb'|indent(2, true) }}|{{ 'a\\n\\nb'|indent(2, blank=true) }}|{{ 'a\\nb'|indent('> ') }}|{{ ''|indent(first=true) }}",
    "{{ '42'|int }}{{ '4.7'|int }}{{ 'x'|int(9) }}{{ 'ff'|int(base=16) }}{{ 2.9|int }}{{ t|int }}{{ '2.5'|float }}{{ 'x'|float }}{{ none|int }}{{ ' 7 '|int }}",
    "{{ -3|abs }}{{ 2.567|round(2) }}{{ 2.5|round }}{{ 3.5|round }}{{ 2.1|round(method='ceil') }}{{ 7|round }}",
    "{{ l|first }}{{ l|last }}{{ []|first }}|{{ 'abc'|first }}{{ 'abc'|list }}{{ d|list }}{{ l|reverse|list }}{{ 'abc'|reverse }}",
    "{{ d.a.x[1] }}{{ d['a']['x'][0] }}{{ ll[0].n }}{{ ll.0.n }}",
    "{{ s is string }}{{ n is number }}{{ t is number }}{{ t is integer }}{{ n is integer }}{{ f is float }}{{ l is iterable }}{{ s is iterable }}{{ n is iterable }}{{ d is mapping }}{{ l is sequence }}{{ d is sequence }}{{ none is none }}{{ t is true }}{{ 1 is true }}{{ t is boolean }}{{ missing is undefined }}{{ missing is sequence }}{{ 3 is odd }}{{ 4 is divisibleby 2 }}{{ 4 is divisibleby(3) }}{{ 'a' is in 'abc' }}{{ 'ABC' is upper }}{{ 'aB' is lower }}{{ 1 is sameas true }}{{ 3 is eq 3 }}{{ range is callable }}",
    '{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}',
    "{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in 'añ' %}[{{ c }}]{% endfor %}{% for x in missing %}x{% else %}none{% endfor %}",
    '{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}none{% endfor %}{% for x in l if x > 9 %}x{% else %}none{% endfor %}',
    '{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}',
    '{% for x in range(2) %}{% for y in range(2) %}{{ loop.index }}{{ loop.depth }}{% endfor %}{% set outer = loop %}{{ outer.index }}{% endfor %}',
    '{{ range(3)|list }}{{ range(1,7,2)|list }}{{ range(5,0,-2)|list }}{{ range(0)|list }}',
    '{% set x = 1 %}{% for i in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}',
    "{% set ns = namespace(c=0, s='a') %}{% for i in l %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}{{ ns.s }}{{ ns.q }}|{{ ns.q is defined }}",
    '{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c %}x{{ a }}y{% endset %}{{ c }}{{ c|length }}{% set z | upper %}abc{% endset %}{{ z }}',
    '{% if n > 2 %}A{% elif n %}B{% else %}C{% endif %}{% if e %}A{% elif n == 3 %}B{% else %}C{% endif %}{% if e %}A{% endif %}',
    "{% macro m(a, b='d', c=none) %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(c=3, a=4) }}{{ m() }}",
    '{% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(4) }}{% macro q() %}{{ g }}{% endmacro %}{% set g = 5 %}{{ q() }}',
    '{% filter upper %}abc {{ s }}{% endfilter %}{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}{% generation %}gen{% endgeneration %}',
    "{% set l2 = [1] %}{% do l2.append(2) %}{{ l2 }}{{ l2.pop() }}{{ l2 }}{% set _ = l2.extend([5,6]) %}{{ l2.index(5) }}{{ l2.insert(0, 'x') }}{{ l2 }}{% set dd = {'a': 1} %}{% do dd.update({'b': 2}) %}{{ dd }}{{ dd.pop('a') }}{{ dd }}{{ dd.setdefault('c', 3) }}{{ dd }}",
    '{% raw %}{{ x }} {% if %}{% endraw %}{# comment #}a{#- c -#}  b',
    'before \n  {%- if t -%}   x   {%- endif -%}   y\n\n',
    'a {{- s -}} b {{ s }}',
    'line1\n  {% if t %}\n  inner\n  {% endif %}\nline2\n  {%+ if t %}\nx\n{% endif +%}\ny\n',
    '{{ \'esc: \\n \\t \\\\ \\\' \\" \\x41 \\u00e9 \\q\' }} {{ "dq \'x\'" }}',
    '{{ 1_000 }} {{ 1.5e3 }} {{ 1e3 }} {{ 0.1 + 0.2 }} {{ 1e100 }} {{ 3.0 }} {{ 1e16 }} {{ 1e15 }} {{ 123456789012345678 }}',
    '{{ [1, \'a\', none, true, 1.5, \'it\'\'s\', "q\\"q\'"] }} {{ [\'\\n\\x00é日\\u200b😀\'] }}',
    "{{ raise_exception('no ' ~ n) }}",
    '{{ s.nope }}|{{ s.nope() }}',
    '{{ n.x.y }}',
    "{{ 1 + 'a' }}",
    "{{ 'a' < 1 }}",
    "{{ strftime_now('%Y-%m-%d %H:%M:%S %B %d') }}",
    "{{ dict(a=1, b=2) }}{{ {'a': {'b': {'c': 1}}}.a.b.c }}{{ {'x': 1}['x'] }}{{ [1,2][1] }}{{ 'ab'[1] }}{{ (1,2)[0] }}",
    "{{ s|safe }}{{ s|string }}{{ n|string ~ 'x' }}{{ [1,2]|string }}",
    "{{ l|join(', ')|upper|length }}{{ -l[0] }}{{ -(1 + 2)|abs }}{{ not 1 == 2 }}{{ 'a' not in 'b' and true }}",
    '{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }}{% endfor %}{% for (a, b) in [[1, 2]] %}{{ a }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ c }}{% endfor %}',
    '{% set x = [1,2,3] %}{{ x[1:][0] }}{{ x|length - 1 }}{{ x[x|length - 1] }}{{ loop is defined }}',
    '{{ none.x }}',
    '{{ undefined_fn() }}',
    "{{ 'A1'.isalnum() }}{{ '12'.isdigit() }}{{ ' '.isspace() }}{{ ''.isalpha() }}{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}",
    "{{ d.pop('zz') }}",
    '{{ [[1,2],[3]]|sum(start=[]) }}{{ 5 is not none }}{{ l is not string and n is number }}',
    "{{ 'x' if missing else 'y' if n == 3 else 'z' }}{{ (missing or {}).get('a', 'def') }}",
    "{{ '<b>'|e if false else 'k' }}",
    "{% include 'x' %}",
    '{{ x | nofilter }}',
    '{{ x is notest }}',
    '{% if t %}',
    '{{ (1 }}',
    "{{ 'abc }}",
    '{% for x in l %}{% endif %}',
    '{{ a.b. }}',
    "{{ ['a', 'b'] == ['a', 'b'] }}{{ {'a':1} == {'a':1.0} }}{{ (1,2) == [1,2] }}{{ (1,2) < (1,3) }}{{ 'abc' < 'abd' }}{{ 'Z' < 'a' }}",
    "{{ 10 % 3 }}{{ '%d%%' % 5 }}{{ '%(a)s' % {'a': 1} }}{{ '%s' % (l,) }}{{ '%s' % none }}",
    '\n{% if t %}\nx\n{% endif %}\n',
    'a\r\nb\r\n{% if t %}\r\nc{% endif %}',
    '  {% set q = 1 %}  \n  {{ q }}\n\t{# c #}\nz\n\n',
    '{%- set q = 1 %}\n\n{{- q }}\n',
    'x\n  {#- c #}\n y',
    '{{ s }}\n',
    '{{ s }}\n\n',
    '   {%- raw -%}  a {{ b }}  {%- endraw -%}  c',
    '{% if t -%}\n\n a {%- endif %} b',
    "{{ none|select|list }}{{ none|map('upper')|list }}{{ missing|selectattr('x')|list }}",
    "{{ d.keys()|list }}{{ d.values()|list }}{{ d.get('zz') }}{{ d.get('zz', 5) }}{{ d['items'] }}{{ d|items|list }}",
    '{{ \'<a>\'|safe + \'<b>"\' + s }}{{ \'&\'|e + \'&\' }}{{ \'<\'|safe ~ \'<\' }}',
]


def expected(source):
    try:
        return {"template": source, "text": environment(NOW).from_string(source).render(**VARIABLES)}
    except Exception:  # what exactly is wrong is worded differently
        return {"template": source, "fails": True}


json.dump({"now": NOW, "variables": VARIABLES, "cases": [expected(source) for source in TEMPLATES]},
          sys.stdout, ensure_ascii=False, indent=1)
print()
