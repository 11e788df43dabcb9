"""attn_implementation="clattn" beside transformers' own, on small models of random weights."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from transformers import (BertConfig, BertModel, LlamaConfig, LlamaForCausalLM,  # noqa: E402
                          MistralConfig, MistralForCausalLM)

import clattn.transformers  # noqa: E402,F401

SMALL = {"vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
         "num_attention_heads": 4, "max_position_embeddings": 128}


def pair(kind, config, **options):
    """Two models of the same weights: of transformers' own attention ("eager") and of clattn."""
    models = []
    for name in ("eager", "clattn"):
        torch.manual_seed(5)
        models.append(kind(config(**SMALL, **options, attn_implementation=name)))
    return models


def test_llama_trains_alike():
    """20 steps of AdamW: the same loss curve."""
    curves = []
    for model in pair(LlamaForCausalLM, LlamaConfig, num_key_value_heads=2):
        torch.manual_seed(6)
        tokens = torch.randint(0, 96, (2, 33))
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
        curve = []
        for _ in range(20):
            loss = model(input_ids=tokens, labels=tokens).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            curve.append(loss.item())
        curves.append(curve)
    assert curves[0][-1] < 0.7 * curves[0][0]
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(side):
    own, mine = pair(LlamaForCausalLM, LlamaConfig, num_key_value_heads=2)
    tokens, mask = torch.randint(0, 96, (3, 20)), torch.ones(3, 20, dtype=torch.long)
    mask[1, slice(0, 7) if side == "left" else slice(13, 20)] = 0
    with torch.no_grad():
        a, b = (m(input_ids=tokens, attention_mask=mask).logits for m in (own, mine))
    assert torch.allclose(a[mask == 1], b[mask == 1], atol=1e-5)


def test_window_and_cache():
    """A sliding window, and generation with a cache: the same tokens."""
    own, mine = pair(MistralForCausalLM, MistralConfig, num_key_value_heads=2, sliding_window=9)
    tokens = torch.randint(0, 96, (1, 30))
    with torch.no_grad():
        a, b = (m(input_ids=tokens).logits for m in (own, mine))
        assert torch.allclose(a, b, atol=1e-5)
        a, b = (m.generate(tokens, max_new_tokens=6, do_sample=False, pad_token_id=0)
                for m in (own, mine))
    assert torch.equal(a, b)


def test_encoder_and_refusals():
    own, mine = pair(BertModel, BertConfig)
    tokens, mask = torch.randint(0, 96, (2, 17)), torch.ones(2, 17, dtype=torch.long)
    mask[1, 11:] = 0
    with torch.no_grad():
        a, b = (m.eval()(input_ids=tokens, attention_mask=mask).last_hidden_state
                for m in (own, mine))
        assert torch.allclose(a[mask == 1], b[mask == 1], atol=1e-5)
        mask[1, 3] = 0
        with pytest.raises(ValueError, match="holes"):
            mine(input_ids=tokens, attention_mask=mask)
    with pytest.raises(ValueError, match="dropout"):
        mine.train()(input_ids=tokens)


def test_sinks():
    """gpt-oss: sinks and windows, without gradients; where sinks want one, the call is refused."""
    from transformers import GptOssConfig, GptOssForCausalLM
    own, mine = pair(GptOssForCausalLM, GptOssConfig, num_key_value_heads=2, head_dim=16,
                     sliding_window=8, num_local_experts=2, num_experts_per_tok=1,
                     pad_token_id=0)
    for model in (own, mine):
        for layer in model.model.layers:
            torch.nn.init.constant_(layer.self_attn.sinks, 0.7)
    tokens = torch.randint(0, 96, (2, 20))
    with torch.no_grad():
        a, b = (m.eval()(input_ids=tokens).logits for m in (own, mine))
    assert torch.allclose(a, b, atol=1e-4)
    with pytest.raises(ValueError, match="sink: it wants a gradient"):
        mine(input_ids=tokens)
