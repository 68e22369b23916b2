"""The price check: a wrong figure is reported, what is known of the packages' own errors is not."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from costlab import catalog

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("check_prices", ROOT / "tools" / "check_prices.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_prices"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["check_prices"]


def priced(provider, miss, output, hit=None, **more):
    """An entry of litellm's file from prices per million tokens."""
    entry = {"litellm_provider": provider, "mode": "chat", **{k: v for k, v in more.items() if isinstance(v, str)}}
    entry |= {"input_cost_per_token": miss / 1e6, "output_cost_per_token": output / 1e6}
    entry |= {k: v / 1e6 for k, v in more.items() if not isinstance(v, str)}
    return entry if hit is None else entry | {"cache_read_input_token_cost": hit / 1e6}


def period(miss, output, hit=None, start=None, hours=False):
    """A period of genai-prices."""
    prices = {"input_mtok": miss, "output_mtok": output} | ({} if hit is None else {"cache_read_mtok": hit})
    return {"from": start, "hours": hours, "prices": prices}


#: Right, or wrong in a way that is known.
LITELLM = {
    "gpt-5.2": priced("openai", 1.75, 14, 0.175),
    "openrouter/openai/gpt-5.2": priced("openrouter", 0.2, 3, 0.01),  # a reseller's minimum over hosts
    "claude-sonnet-5-5": priced(
        "anthropic", 2, 10, 0.1, cache_creation_input_token_cost=2.5, cache_creation_input_token_cost_above_1hr=4
    ),
    "deepseek/deepseek-v4-pro": priced("deepseek", 1.32, 3.96, 0.044, cache_creation_input_token_cost=0),  # peak
    "zai/glm-4.5": priced("zai", 0.6, 2.2),  # hit left out
    "zai/glm-5.2": priced("zai", 1.4, 4.4, 0),  # hit as 0
    "xai/grok-4.7": priced(
        "xai",
        2,
        6,
        0.5,
        input_cost_per_token_above_200k_tokens=4,
        output_cost_per_token_above_200k_tokens=12,
        cache_read_input_token_cost_above_200k_tokens=1,
    ),
    "nebius/deepseek-ai/DeepSeek-V4-Pro-0813": priced("nebius", 1.32, 3.96, 0.04),
}
GENAI = {
    "deepseek/deepseek-v4-pro": [
        period(0.435, 0.87, 0.003625),
        period(0.66, 1.98, 0.022, "2026-08-17"),
        period(1.32, 3.96, 0.044, None, True),
    ],
    "zhipuai/GLM-5.3-Flash": [period(0.055, 0.193, 0.016), period(0.11, 0.386, 0.032, "2026-09-10")],  # yuan / 7.25
    "x-ai/grok-4.7": [
        {
            "from": None,
            "hours": False,
            "prices": {
                "input_mtok": {"base": 2, "tiers": [[199999, 4]]},
                "output_mtok": {"base": 6, "tiers": [[199999, 12]]},
            },
        }
    ],
    "google/gemini-4-argon": [period(2, 10, 0.1), period(4, 20, 0.2, "2026-12-01")],
}


def run(tool, tmp_path, litellm, genai, *more):
    (tmp_path / "l.json").write_text(json.dumps(litellm))
    (tmp_path / "g.json").write_text(json.dumps(genai))
    paths = ["--litellm", str(tmp_path / "l.json"), "--genai", str(tmp_path / "g.json")]
    return tool.main([*paths, "--date", "2026-11-25", *more])


def test_known_traps_are_no_differences(tool, tmp_path, capsys):
    assert run(tool, tmp_path, LITELLM, GENAI) == 0
    said = capsys.readouterr().out
    assert said.startswith("0 differences, 0 known ones left out; of ")
    assert said.endswith("the packages have 9\n")  # all of them were found, so the test above can fail


@pytest.mark.parametrize(
    ("package", "key", "wrong", "said"),
    [
        ("l", "gpt-5.2", priced("openai", 1.75, 12, 0.175), "gpt-5.2: output is 14 here, 12 in litellm gpt-5.2"),
        ("l", "claude-sonnet-5-5", priced("anthropic", 2, 10, 0.2), "claude-sonnet-5.5: hit is 0.1 here, 0.2 in"),
        ("l", "deepseek/deepseek-v4-pro", priced("deepseek", 1.5, 3.96), "deepseek-v4-pro: miss is 1.32 here, 1.5 in"),
        (
            "l",
            "gpt-5.2",
            priced("openai", 1.75, 14, deprecation_date="2027-05-01"),
            "end is open here, 2027-05-01",
        ),
        (
            "l",
            "xai/grok-4.7",
            priced("xai", 2, 6, input_cost_per_token_above_128k_tokens=4),
            "grok-4.7: tier is 200000 here, 128000 in litellm",
        ),
        (
            "l",
            "nebius/deepseek-ai/DeepSeek-V4-Pro-0813",
            priced("nebius", 1.1, 3.96),
            "nebius/deepseek-v4-pro: miss is 1.32 here, 1.1 in litellm nebius/",
        ),
        (
            "g",
            "deepseek/deepseek-v4-pro",
            [period(0.7, 1.98, 0.022), period(1.32, 3.96, 0.044, None, True)],
            "deepseek-v4-pro: miss is 0.66 here, 0.7 in genai-prices",
        ),
        (
            "g",
            "zhipuai/GLM-5.3-Flash",
            [period(0.13, 0.386)],
            "glm-5.3-flash: miss is 0.8 here, 0.9425 in genai-prices zhipuai/GLM-5.3-Flash",
        ),
        (
            "g",
            "google/gemini-4-argon",
            [period(2, 10), period(4, 20, None, "2027-02-01")],
            "gemini-4-argon: announced is nothing here, a price from 2027-02-01 in genai-prices",
        ),
    ],
)
def test_a_difference_is_reported(tool, tmp_path, capsys, package, key, wrong, said):
    litellm = LITELLM | ({key: wrong} if package == "l" else {})
    genai = GENAI | ({key: wrong} if package == "g" else {})
    assert run(tool, tmp_path, litellm, genai) == 1
    assert said in capsys.readouterr().out


def test_a_wrong_row_of_the_catalog_is_reported(tool, tmp_path, capsys, monkeypatch):
    """Seeded in the catalog itself: an output price of 15 where both packages have 14."""
    import dataclasses

    real = catalog.tables()
    rows = tuple(dataclasses.replace(r, output=15.0) if r.product == "gpt-5.2" else r for r in real.prices)
    monkeypatch.setattr(catalog, "tables", lambda: dataclasses.replace(real, prices=rows))
    assert run(tool, tmp_path, LITELLM, GENAI) == 1
    assert "gpt-5.2: output is 15 here, 14 in litellm gpt-5.2" in capsys.readouterr().out


def test_new_names_are_listed(tool, tmp_path, capsys):
    more = LITELLM | {"gpt-9-nova": priced("openai", 1, 2), "azure/gpt-9-nova": priced("azure", 1, 2)}
    assert run(tool, tmp_path, more, GENAI, "--new") == 0
    assert capsys.readouterr().out.endswith("not in the catalog: gpt-9-nova\n")


@pytest.mark.parametrize("text", ["", "[1", "not json"])
def test_what_cannot_be_read_is_no_answer(tool, tmp_path, capsys, text):
    (tmp_path / "l.json").write_text(text)
    (tmp_path / "g.json").write_text("{}")
    paths = ["--litellm", str(tmp_path / "l.json"), "--genai", str(tmp_path / "g.json")]
    assert tool.main(paths) == 2
    assert "no price file of litellm" in capsys.readouterr().err
    assert tool.main([paths[0], str(tmp_path / "none.json"), *paths[2:]]) == 2
    (tmp_path / "l.json").write_text("{}")
    assert tool.main([*paths[:3], str(tmp_path)]) == 2  # a folder without the package
    assert "genai_prices does not import" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        tool.main(paths[:2])
