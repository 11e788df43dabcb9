"""clattn.torch beside PyTorch's own attention in double."""


import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import clattn.torch as ct  # noqa: E402

sdpa = torch.nn.functional.scaled_dot_product_attention
UNIT = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def close(result, wanted, factor=16):
    error = (result.double() - wanted).abs().max()
    assert error <= factor * UNIT[result.dtype] * 2 * wanted.abs().max()


def tensors(q, k, dtype, dv=None):
    torch.manual_seed(3)
    made = [torch.randn(q), torch.randn(k), torch.randn(*k[:-1], dv or k[-1])]
    return [t.to(dtype).requires_grad_() for t in made]


@pytest.mark.parametrize("dtype", UNIT, ids=str)
@pytest.mark.parametrize("q,k,options", [
    ((2, 4, 33, 16), (2, 4, 33, 16), {}),
    ((2, 4, 20, 16), (2, 2, 31, 16), {"is_causal": True, "enable_gqa": True, "scale": 0.3}),
    ((3, 20, 16), (3, 31, 16), {"is_causal": True})])
def test_as_torch(dtype, q, k, options):
    """Output and gradients are those of PyTorch in double, is_causal aligned to the start."""
    mine = tensors(q, k, dtype)
    other = [t.detach().double().requires_grad_() for t in mine]
    o, wanted = ct.scaled_dot_product_attention(*mine, **options), sdpa(*other, **options)
    assert o.dtype == dtype
    close(o.detach(), wanted.detach())
    d_o = torch.randn(o.shape).to(dtype)
    o.backward(d_o)
    wanted.backward(d_o.double())
    for a, b in zip(mine, other):
        assert a.grad.dtype == dtype
        close(a.grad, b.grad, factor=64)


def test_lse_has_a_gradient():
    q, k, v = tensors((1, 2, 12, 8), (1, 2, 15, 8), torch.float32)
    o, lse = ct.attention(q, k, v, causal=True, softcap=3.0, window=(6, 0), return_lse=True)
    (o.sum() + (lse * torch.arange(12.0)).sum()).backward()
    q2, k2, v2 = (t.detach().double().requires_grad_() for t in (q, k, v))
    scores = 3 * torch.tanh(q2 @ k2.mT / 8**0.5 / 3)
    i, j = torch.arange(12)[:, None] + 3, torch.arange(15)
    scores = scores.masked_fill((j > i) | (j < i - 6), -torch.inf)
    (scores.softmax(-1) @ v2).sum().add((scores.logsumexp(-1) * torch.arange(12.0)).sum()).backward()
    for a, b in ((q, q2), (k, k2), (v, v2)):
        close(a.grad, b.grad, factor=64)


def test_operator():
    """Schema, fake tensors, autograd's registration: torch's own check."""
    q, k, v = tensors((1, 2, 9, 8), (1, 2, 11, 8), torch.float32)
    torch.library.opcheck(torch.ops.clattn.attention.default, (q, k, v, -1, 0, None, 0.0, True),
                          test_utils=("test_schema", "test_autograd_registration",
                                      "test_faketensor"))


def test_compile():
    q, k, v = tensors((1, 2, 40, 8), (1, 2, 40, 8), torch.float32)

    def model(q, k, v):
        return ct.scaled_dot_product_attention(q * 2, k, v, is_causal=True) + 1

    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    o = compiled(q, k, v)
    assert torch.equal(o, model(q, k, v))
    o.sum().backward()
    assert q.grad is not None


def test_enable():
    F = torch.nn.functional
    x = torch.randn(1, 8, 256, 32)
    wanted = F.scaled_dot_product_attention(x, x, x)
    before = ct.explain()
    with ct.enable():
        assert torch.allclose(F.scaled_dot_product_attention(x, x, x), wanted, atol=1e-5)
        F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(256, 256, dtype=torch.bool))
        F.scaled_dot_product_attention(x.double(), x.double(), x.double())
        F.scaled_dot_product_attention(*[x[:, :, :4]] * 3)
    assert F.scaled_dot_product_attention is sdpa
    new = {r: n - before.get(r, 0) for r, n in ct.explain().items() if n > before.get(r, 0)}
    assert new.pop("clattn") == 1
    assert sorted(r.split(":")[0] for r in new) == ["attn_mask", "query", "small"]


@pytest.mark.parametrize("change,sentence", [
    ({"attn_mask": torch.ones(5, 5)}, "attn_mask"), ({"dropout_p": 0.1}, "dropout_p"),
    ({"key": torch.ones(1, 1, 5, 8), "value": torch.ones(1, 1, 5, 8)}, "enable_gqa"),
    ({"query": torch.ones(1, 2, 5, 8).double()}, "type"), ({"key": torch.ones(2, 5, 8)}, "dimensions"),
    ({"query": torch.ones(1, 2, 5, 8, device="meta")}, "meta")])
def test_refused(change, sentence):
    x = torch.ones(1, 2, 5, 8)
    with pytest.raises(ValueError, match=sentence):
        ct.scaled_dot_product_attention(**({"query": x, "key": x, "value": x} | change))


def test_views_and_nothing():
    packed = torch.randn(2, 30, 3, 2, 8)
    q, k, v = (packed[:, :, i].transpose(1, 2) for i in range(3))
    close(ct.attention(q, k, v), sdpa(q.double(), k.double(), v.double()))
    across = torch.randn(1, 2, 8, 30).mT  # its last dimension is not contiguous
    close(ct.attention(across, across, across), sdpa(*[across.double()] * 3))
    none = torch.ones(1, 2, 0, 8, requires_grad=True)
    assert ct.attention(none, q[:1], k[:1]).shape == none.shape
    o = ct.attention(q[:1], none, none)
    assert not o.any()


def test_training_repeats():
    """Gradients are the same to the bit in each run, on several threads of autograd, too."""
    q, k, v = tensors((2, 4, 64, 16), (2, 4, 64, 16), torch.float32)
    runs = []
    for _ in range(3):
        for t in (q, k, v):
            t.grad = None
        ct.scaled_dot_product_attention(q, k, v, is_causal=True).square().sum().backward()
        runs.append([t.grad.clone() for t in (q, k, v)])
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))
