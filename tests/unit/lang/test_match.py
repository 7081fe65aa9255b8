# SPDX-License-Identifier: Apache-2.0
"""Matches: tokens, operators, sets, subfields, references, errors with positions."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang.evaluate import evaluate
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.lexer import ConstantError, Tokens, parse_constant
from ovn_bpf_controller.lang.logic import conjunction, disjunction, negate
from ovn_bpf_controller.lang.nodes import (
    FALSE,
    TRUE,
    And,
    Cmp,
    Const,
    Expr,
    Format,
    Or,
    PortCmp,
    PortGroupRef,
    Relop,
    Resident,
    SetRef,
)
from ovn_bpf_controller.lang.references import references
from ovn_bpf_controller.lang.templates import substitute_templates, template_names
from tests.unit.lang import grammar

ENV = grammar.Env()


def reg(value: int, relop: Relop = Relop.EQ, *, root: str = "reg0") -> Cmp:
    return Cmp(root, 0, 32, relop, value, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("text", "value", "kind", "mask"),
    [
        ("0", 0, Format.DECIMAL, None),
        ("18446744073709551615", (1 << 64) - 1, Format.DECIMAL, None),
        ("0xDeadBeef", 0xDEADBEEF, Format.HEX, None),
        ("0x" + "0" * 300 + "1", 1, Format.HEX, None),
        ("192.168.0.1", 0xC0A80001, Format.IP4, None),
        ("192.168.3.4/24", 0xC0A80300, Format.IP4, 0xFFFFFF00),
        ("192.168.3.4/255.0.0.255", 0xC0000004, Format.IP4, 0xFF0000FF),
        ("1.2.3.4/0", 0, Format.IP4, 0),
        ("::", 0, Format.IP6, None),
        ("::1", 1, Format.IP6, None),
        ("fe80::/10", 0xFE80 << 112, Format.IP6, 0xFFC0 << 112),
        ("::ffff:1.2.3.4", 0xFFFF01020304, Format.IP6, None),
        ("ab:cd:ef:01:02:03", 0xABCDEF010203, Format.ETH, None),
        ("01:00:00:00:00:00/01:00:00:00:00:00", 1 << 40, Format.ETH, 1 << 40),
        ("5/6", 4, Format.DECIMAL, 6),
        ("0x5/0xc", 4, Format.HEX, 0xC),
        ("0/0x1234", 0, Format.HEX, 0x1234),
    ],
)
def test_constants(text: str, value: int, kind: Format, mask: int | None) -> None:
    assert parse_constant(text) == Const(value, kind, mask)
    tokens = Tokens(f"{text} && ")
    assert tokens.value == Const(value, kind, mask)
    tokens.advance()
    assert tokens.kind == "&&"


@pytest.mark.parametrize(
    "text",
    ["01", "18446744073709551616", "0x", "0xg", "0x1" + "0" * 256, "1.2.3", "1.2.3.256",
     "1.2.3.4.5", "fe80::1::2", "1.2.3.4/33", "::1/129", "1.2.3.4/::1", "5/0x1", "1.2.3.4/0xff",
     "12ab", "00:00:00:00:00", "00:00:00:00:00:0g", "1/", "9" * 5000],
)  # fmt: skip
def test_no_constants(text: str) -> None:
    with pytest.raises(ConstantError):
        parse_constant(text)
    with pytest.raises(LangError):
        parse_match(f"reg0 == {text}")


def kinds(text: str) -> list[str]:
    tokens, found = Tokens(text), []
    while tokens.kind != "end of input":
        found.append(tokens.kind)
        tokens.advance()
    return found


def test_tokens_that_look_alike() -> None:
    assert kinds("1.2.3.4:80") == ["constant", ":", "constant"]
    assert kinds("[fd00::1]:80") == ["[", "constant", "]", ":", "constant"]
    assert kinds("reg0[0..7]") == ["identifier", "[", "constant", "..", "constant", "]"]
    assert kinds("a <-> b < -c") == ["identifier", "<->", "identifier", "<", "-", "identifier"]
    assert kinds("ip.ttl--;") == ["identifier", "--", ";"]
    assert kinds("// all\n/* of */ it // here") == ["identifier"]
    assert kinds('"a\\"b" $set @group ^name') == [
        "string", "address set", "port group", "template",
    ]  # fmt: skip
    assert Tokens(r'"a\"bé\\"').value == 'a"bé\\'


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ('inport == "abc', 10),
        ("ip4 & tcp", 4),
        ("ip4 | tcp", 4),
        ("ip4 # tcp", 4),
        ("ip4 / tcp", 4),
        ("/* ip4", 0),
        ("/* ip4 \n */", 0),
        ("ip4.src == $", 11),
        ("inport == @1", 10),
        ('inport == "\\q"', 10),
        ("ip4 é", 4),
        (". ", 0),
    ],
)
def test_text_that_is_no_token(text: str, position: int) -> None:
    with pytest.raises(LangError) as caught:
        parse_match(text)
    assert caught.value.position == position
    assert caught.value.text == text


def test_relations() -> None:
    for relop in Relop:
        assert parse_match(f"reg0 {relop.value} 5") == reg(5, relop)
    assert parse_match("5 < reg0") == reg(5, Relop.GT)
    assert parse_match("5 >= reg0") == reg(5, Relop.LE)
    assert parse_match("5 == reg0") == reg(5)
    assert parse_match("1 < reg0 <= 5") == And((reg(1, Relop.GT), reg(5, Relop.LE)))
    assert parse_match("9 >= reg0 > 5") == And((reg(9, Relop.LE), reg(5, Relop.GT)))
    assert parse_match("!(1 < reg0 < 5)") == Or((reg(1, Relop.LE), reg(5, Relop.GE)))


def test_boolean_operators() -> None:
    a, b, c = reg(1), reg(2, root="reg1"), reg(3, root="reg2")
    assert parse_match("reg0 == 1 && reg1 == 2 && reg2 == 3") == And((a, b, c))
    assert parse_match("reg0 == 1 && (reg1 == 2 && reg2 == 3)") == And((a, b, c))
    assert parse_match("reg0 == 1 || (reg1 == 2 && reg2 == 3)") == Or((a, And((b, c))))
    assert parse_match("!(reg0 == 1 || reg1 != 2)") == And((reg(1, Relop.NE), b))
    assert parse_match("!(!(reg0 == 1))") == a
    assert parse_match("reg0 == 1 && 1") == a
    assert parse_match("reg0 == 1 || 1") == TRUE
    assert parse_match("reg0 == 1 && 0") == FALSE
    assert parse_match("!1") == FALSE
    assert parse_match("!(0 && reg0 == 1)") == TRUE


def test_duplicates_are_dropped() -> None:
    assert parse_match("reg0 == 1 && reg0 == 1") == reg(1)
    assert parse_match("reg0 == {1, 1}") == reg(1)


def test_subfields() -> None:
    assert parse_match("reg0[3]") == Cmp("reg0", 3, 1, Relop.NE, 0, 1)
    assert parse_match("!reg0[3]") == Cmp("reg0", 3, 1, Relop.EQ, 0, 1)
    assert parse_match("reg0[4..7] == 9") == Cmp("reg0", 4, 4, Relop.EQ, 9, 15)
    assert parse_match("eth.dst[40]") == parse_match("eth.mcast")
    assert parse_match("!reg0") == reg(0)
    # As in OVN, a constant must fit the field, and is cut to the subfield.
    assert parse_match("reg0[0..7] == 0x1ff") == Cmp("reg0", 0, 8, Relop.EQ, 0xFF, 0xFF)
    assert parse_match("ct_mark.ecmp_reply_port[0..3] == 2") == Cmp(
        "ct_mark", 16, 4, Relop.EQ, 2, 15
    )


def test_sets() -> None:
    assert parse_match("reg0 == {1, 2 3}") == Or((reg(1), reg(2), reg(3)))
    assert parse_match("reg0 != {1, 2}") == And((reg(1, Relop.NE), reg(2, Relop.NE)))
    assert parse_match("{1, 2} == reg0") == Or((reg(1), reg(2)))
    assert parse_match("!(reg0 == {1, 2})") == And((reg(1, Relop.NE), reg(2, Relop.NE)))
    assert parse_match("!(reg0 != {1, 2})") == Or((reg(1), reg(2)))


def test_masks() -> None:
    assert parse_match("reg0 == 0x5/0xc") == Cmp("reg0", 0, 32, Relop.EQ, 4, 12)
    assert parse_match("reg0 == 0/0") == TRUE
    assert parse_match("reg0 != 0/0") == FALSE


def test_references_stay_in_the_tree() -> None:
    ip4 = Cmp("eth.type", 0, 16, Relop.EQ, 0x800, 0xFFFF)
    assert parse_match("ip4.src == $as") == And((SetRef("ip4.src", 0, 32, Relop.EQ, "as"), ip4))
    assert parse_match("ip4.src != $as") == SetRef("ip4.src", 0, 32, Relop.NE, "as", ip4)
    assert parse_match('outport == {"a", @g}') == Or(
        (PortCmp("outport", Relop.EQ, "a"), PortGroupRef("outport", Relop.EQ, "g"))
    )
    assert parse_match('"a" == inport') == PortCmp("inport", Relop.EQ, "a")
    assert parse_match('!(inport != "a")') == PortCmp("inport", Relop.EQ, "a")
    assert parse_match('!is_chassis_resident("cr")') == Resident("cr", True)
    found = references(
        parse_match(
            'inport == {"a", @g} && (ip4.src == $s || ip6.dst != {$t, ::1}) '
            '&& !is_chassis_resident("cr")'
        )
    )
    assert found.ports == {"a"}
    assert found.port_groups == {"g"}
    assert found.address_sets == {"s", "t"}
    assert found.residents == {"cr"}


# Matches that are no OVN, where that shows, and what we say.
REFUSED: list[tuple[str, int, str]] = [
    ("", 0, "expecting constant"),
    ("ip4 &&", 6, "expecting constant"),
    ("ip4 && tcp || udp", 11, "must be parenthesized"),
    ("ip4 tcp", 4, "expecting end of input"),
    ("(ip4", 4, "expecting )"),
    ("nonsense == 1", 0, "expecting field name"),
    ("ip4 && frobnicate()", 7, "expecting function name"),
    ("is_chassis_resident(p1)", 20, "expecting string"),
    ('is_chassis_resident("p1"', 24, "expecting )"),
    ("reg0", 0, "explicit != 0 is required"),
    ("reg0 = 1", 5, "expecting relational operator"),
    ("inport", 6, "expecting relational operator"),
    ("!reg0 == 1", 1, "missing parentheses"),
    ("reg0 == {}", 9, "expecting constant"),
    ("reg0 == {1, 2", 13, "expecting constant"),
    ("reg0 == foo", 8, "expecting constant"),
    ("reg0 < {1}", 7, "value sets"),
    ("reg0 < 4/12", 7, "masked constants"),
    ("reg0 < $as", 7, "value sets"),
    ("ip.proto < 6", 11, "only == and != may be used"),
    ("tcp < 1", 6, "only == and != may be used"),
    ("ip.proto != 6", 0, "may only be tested for equality"),
    ("!(ip.proto == 6)", 2, "may only be tested for equality"),
    ('inport != "a"', 0, "may only be tested for equality"),
    ("inport == 1", 10, "string field inport is not compatible"),
    ('reg0 == "a"', 8, "integer field reg0 is not compatible"),
    ('reg0 == {1, "a"}', 12, "expecting integer"),
    ('inport == {"a", 1}', 16, "expecting string"),
    ("inport == $as", 10, "not compatible"),
    ("reg0 == @pg", 8, "not compatible"),
    ("ip4.src == ::1", 11, "128-bit constant"),
    ("tcp.dst == 65536", 11, "17-bit constant"),
    ("eth.src == fd00::1", 11, "128-bit constant"),
    ("ip4.src == 00:00:00:00:00:01", 11, "48-bit constant"),
    ("reg0[5..3] == 1", 4, "invalid bit range"),
    ("reg0[0..32] == 1", 4, "cannot select bits"),
    ("ip.proto[0] == 1", 8, "cannot select subfield of nominal"),
    ("inport[0] == 1", 6, "cannot select subfield of string"),
    ("reg0[a] == 1", 5, "expecting small integer"),
    ("reg0[0 == 1", 7, "expecting ]"),
    ("1 == reg0 == 1", 10, "range expressions"),
    ("1 < reg0 > 1", 9, "range expressions"),
    ("5", 1, "expecting relational operator"),
    ("tcp == $as", 7, "cannot be compared with an address set"),
    ("ip4.dst == ^vip", 11, "unexpanded template"),
    ("(" * 101 + "ip4" + ")" * 101, 100, "nested too deeply"),
]


@pytest.mark.parametrize(("text", "position", "message"), REFUSED)
def test_errors_say_where(text: str, position: int, message: str) -> None:
    with pytest.raises(LangError) as caught:
        parse_match(text)
    assert message in caught.value.message
    assert caught.value.position == position
    assert f"column {position + 1} " in str(caught.value)


def test_a_hundred_parentheses_are_fine() -> None:
    assert parse_match("(" * 100 + "reg0 == 1" + ")" * 100) == reg(1)


def test_a_very_long_match_needs_no_deep_stack() -> None:
    text = " || ".join(f"(ip4.src == 10.0.{i >> 8}.{i & 255} && reg0 == {i})" for i in range(5000))
    match = parse_match(text)
    packet = {"eth.type": 0x800, "ip4.src": 0x0A000000 + 4999, "reg0": 4999}
    assert evaluate(match, packet, ENV)


def test_logic_helpers() -> None:
    a, b = reg(1), reg(2)
    assert conjunction(()) == TRUE
    assert disjunction(()) == FALSE
    mixed: Expr = Or((a, And((b, Resident("x"), PortCmp("inport", Relop.EQ, "p")))))
    assert negate(negate(mixed)) == mixed
    sets: Expr = And((SetRef("reg0", 0, 32, Relop.EQ, "s"), PortGroupRef("inport", Relop.NE, "g")))
    assert negate(sets) == Or(
        (SetRef("reg0", 0, 32, Relop.NE, "s"), PortGroupRef("inport", Relop.EQ, "g"))
    )
    assert negate(TRUE) == FALSE


def test_templates() -> None:
    text = 'ip4.dst == ^vip && inport == "^vip" && tcp.dst == ^port.1'
    assert template_names(text) == {"vip", "port.1"}
    assert template_names("ip4") == frozenset()
    values = {"vip": "10.0.0.1", "port.1": "{80, 443}", "unused": "x"}
    assert substitute_templates(text, values) == (
        'ip4.dst == 10.0.0.1 && inport == "^vip" && tcp.dst == {80, 443}'
    )
    assert substitute_templates("ip4", {}) == "ip4"
    with pytest.raises(LangError, match="template variable port.1 has no value") as caught:
        substitute_templates(text, {"vip": "1.2.3.4"})
    assert caught.value.position == text.index("^port")
