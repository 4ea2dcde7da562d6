"""Texts that try to break out of the page."""

HOSTILE = (
    "</pre></details></script><script>alert(1)</script><img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)><a href="javascript:alert(4)">x</a>',
    "{{ 7 * 7 }}{% raw %} ${7*7} </style><style>@import url(http://evil.example/a.css)",
    "# nul \x00 escape \x1b[31m red \x1b[0m, right to left \u202e evil \u202c, lone \ufdd0 noncharacter",
    "x = '" + "long" * 2000 + "'",
)
