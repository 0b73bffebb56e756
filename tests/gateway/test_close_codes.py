"""The one table of close codes."""

from doorstep.gateway.close_codes import CLOSE_RULES, CloseCode


def test_every_code_has_a_rule_and_every_rule_a_meaning() -> None:
    assert set(CLOSE_RULES) == set(CloseCode)
    assert all(rule.meaning for rule in CLOSE_RULES.values())


def test_what_the_contract_says_of_reconnecting() -> None:
    reconnecting = {code.value for code, rule in CLOSE_RULES.items() if rule.reconnect != "never"}
    assert reconnecting == {1001, 1005, 1006, 1011, 1012, 1013, 4001, 4008}
    assert CLOSE_RULES[CloseCode.TOKEN_EXPIRED].reconnect == "with_new_token"


def test_each_of_them_is_a_code_of_the_protocol_or_ours() -> None:
    assert all(code < 1016 or 4000 <= code < 5000 for code in CloseCode)
