/*
 * Problem texts: what parses, to what, what the text of a problem is, and what
 * is refused.
 */
#include "problem.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* As read, and as written again: words in one order, none that can be left out. */
static const struct {
    const char *read, *written;
} texts[] = {
    {"q0 d1", "f32 q0 d1"},
    {"q1 d1", "f32 q1 d1"},
    {"d64 q128", "f32 q128 d64"},
    {"f32 q128 d64", "f32 q128 d64"},
    {"f16 q128 d64", "f16 q128 d64"},
    {"bf16 q128 d64", "bf16 q128 d64"},
    {"d64 q128 bf16", "bf16 q128 d64"},
    {"f32 kf16 q7 d3", "f32 kf16 q7 d3"},
    {"kf16 q7 d3", "f32 kf16 q7 d3"},
    {"kf16 vf16 q7 d3", "f32 kf16 q7 d3"}, /* v as k */
    {"kf16 vf32 q7 d3", "f32 kf16 vf32 q7 d3"},
    {"vbf16 q7 d3 f16", "f16 vbf16 q7 d3"},
    {"f32 kf32 vf32 of32 q7 d3", "f32 q7 d3"},
    {"f16 of32 q7 d3", "f16 of32 q7 d3"}, /* o as q */
    {"df16 of16 vbf16 kbf16 bf16 q7 k9 d3 bwd", "bf16 of16 df16 q7 k9 d3 bwd"},
    {"df32 q7 d3 bwd", "f32 q7 d3 bwd"}, /* as all of them */
    {"df16 q7 d3", "f32 q7 d3"},         /* forward has no gradients */
    {"df16 q7 d3 bwd", "f32 df16 q7 d3 bwd"},
    {"df32 kf16 q7 d3 bwd", "f32 kf16 df32 q7 d3 bwd"},
    {"  q7\td3\r\n", "f32 q7 d3"},
    {"q7 k7 d3", "f32 q7 d3"},
    {"q7 k0 d3", "f32 q7 k0 d3"},
    {"q0 k7 d3", "f32 q0 k7 d3"},
    {"k9 q7 d3", "f32 q7 k9 d3"},
    {"q007 d08", "f32 q7 d8"},
    {"b1 q7 d3", "f32 q7 d3"},
    {"b0 q7 d3", "f32 b0 q7 d3"},
    {"b2 q7 d3", "f32 b2 q7 d3"},
    {"h1 q7 d3", "f32 q7 d3"},
    {"h4 q7 d3", "f32 h4 q7 d3"},
    {"h4:4 q7 d3", "f32 h4 q7 d3"},
    {"h4:2 q7 d3", "f32 h4:2 q7 d3"},
    {"h4:1 q7 d3", "f32 h4:1 q7 d3"},
    {"q7 d512", "f32 q7 d512"},
    {"q7 d3:3", "f32 q7 d3"},
    {"q7 d3:512", "f32 q7 d3:512"},
    {"q7 d512:1", "f32 q7 d512:1"},
    {"q1073741823 d1", "f32 q1073741823 d1"},
    {"q7 d3 end", "f32 q7 d3"},
    {"q7 d3 start", "f32 q7 d3"}, /* no band, no diagonal */
    {"q7 d3 causal", "f32 q7 d3 causal"},
    {"q7 d3 causal end", "f32 q7 d3 causal"},
    {"q7 k9 d3 causal start", "f32 q7 k9 d3 causal start"},
    {"q7 d3 window-1,0", "f32 q7 d3 causal"},
    {"q7 d3 window-1,-1", "f32 q7 d3"},
    {"q7 d3 window0,0", "f32 q7 d3 window0,0"},
    {"q7 d3 window2,0", "f32 q7 d3 window2,0"},
    {"q7 d3 window2,-1", "f32 q7 d3 window2,-1"},
    {"q7 d3 window-1,2", "f32 q7 d3 window-1,2"},
    {"q7 d3 window5,5", "f32 q7 d3 window5,5"},
    {"q7 d3 window6,5", "f32 q7 d3 window-1,5"}, /* 6 to the left: all of 7 keys */
    {"q7 d3 window5,6", "f32 q7 d3 window5,-1"},
    {"q7 d3 window6,6", "f32 q7 d3"},
    {"q7 d3 window6,0", "f32 q7 d3 causal"},
    {"q7 d3 window2147483647,2147483647", "f32 q7 d3"},
    {"q7 k9 d3 window6,6 start", "f32 q7 k9 d3 window-1,6 start"},
    {"q7 k9 d3 window8,8 start", "f32 q7 k9 d3"},
    {"q7 k9 d3 window6,5", "f32 q7 k9 d3 window6,5"},
    {"q7 k9 d3 window8,6", "f32 q7 k9 d3"},
    {"q1 k9 d3 causal", "f32 q1 k9 d3"}, /* the last query sees all */
    {"q1 k9 d3 causal start", "f32 q1 k9 d3 causal start"},
    {"q7 d3 aligned", "f32 q7 d3 aligned"},
    {"aligned q7 d3 causal softcap2", "f32 q7 d3 causal softcap2 aligned"},
    {"q7 d3 softcap0", "f32 q7 d3"},
    {"q7 d3 softcap0.0e-60", "f32 q7 d3"},
    {"q7 d3 softcap1e-45", "f32 q7 d3 softcap1e-45"}, /* the smallest float */
    {"q7 d3 softcap30", "f32 q7 d3 softcap30"},
    {"q7 d3 softcap30.0", "f32 q7 d3 softcap30"},
    {"q7 d3 softcap0.5", "f32 q7 d3 softcap0.5"},
    {"q7 d3 softcap.5", "f32 q7 d3 softcap0.5"},
    {"q7 d3 softcap5e-1", "f32 q7 d3 softcap0.5"},
    {"q7 d3 softcap1e+2", "f32 q7 d3 softcap100"},
    {"q7 d3 softcap0.1", "f32 q7 d3 softcap0.1"},
    {"q7 d3 softcap49.99", "f32 q7 d3 softcap49.99"},
    {"q7 d3 softcap16777216", "f32 q7 d3 softcap16777216"},
    {"q7 d3 fwd", "f32 q7 d3"},
    {"bwd q7 d3", "f32 q7 d3 bwd"},
    {"f16 bwd h4:2 q7 d3 softcap2 causal", "f16 h4:2 q7 d3 causal softcap2 bwd"},
    {"f16 b2 h32:8 q4096 k4096 d128:64 causal", "f16 b2 h32:8 q4096 d128:64 causal"},
    {"q7 d3 alibi", "f32 q7 d3 alibi"},
    {"sink mask bias q7 d3", "f32 q7 d3 bias mask sink"},
    {"biasf32 q7 d3", "f32 q7 d3 bias"}, /* the type of q */
    {"biasf16 q7 d3 causal", "f32 q7 d3 causal biasf16"},
    {"bf16 biasf32 q7 d3 mask", "bf16 q7 d3 biasf32 mask"},
    {"alibi q7 d3 causal", "f32 q7 d3 causal alibi"},
    {"q7 k9 d3 alibi start", "f32 q7 k9 d3 start alibi"}, /* a diagonal without a band */
    {"q7 k9 d3 window8,6 start alibi", "f32 q7 k9 d3 window-1,6 start alibi"},
    {"softcap50 start causal d128:64 k99 q98 h32:8 b2 bf16",
     "bf16 b2 h32:8 q98 k99 d128:64 causal start softcap50"},
};

static const struct {
    const char *text;
    cl_int code; /* of parse, or where parse has no objection, of format */
} refused[] = {
    {"", CLATTN_INVALID_TEXT},
    {" \t\n", CLATTN_INVALID_TEXT},
    {"q7", CLATTN_INVALID_TEXT}, /* no d */
    {"d3", CLATTN_INVALID_TEXT}, /* no q */
    {"k7 d3", CLATTN_INVALID_TEXT},
    {"q d3", CLATTN_INVALID_TEXT},
    {"q7 d", CLATTN_INVALID_TEXT},
    {"q7 d3 b", CLATTN_INVALID_TEXT},
    {"q7 d3 h", CLATTN_INVALID_TEXT},
    {"q7 d3 k", CLATTN_INVALID_TEXT},
    {"q7 d3 x5", CLATTN_INVALID_TEXT},
    {"q7 d3 5", CLATTN_INVALID_TEXT},
    {"q7 d3 :", CLATTN_INVALID_TEXT},
    {"q7,d3", CLATTN_INVALID_TEXT},
    {"q7d3", CLATTN_INVALID_TEXT},
    {"Q7 d3", CLATTN_INVALID_TEXT},
    {"q 7 d3", CLATTN_INVALID_TEXT},
    {"q=7 d3", CLATTN_INVALID_TEXT},
    {"q7.0 d3", CLATTN_INVALID_TEXT},
    {"q0x7 d3", CLATTN_INVALID_TEXT},
    {"q7e2 d3", CLATTN_INVALID_TEXT},
    {"q+7 d3", CLATTN_INVALID_TEXT},
    {"q-1 d3", CLATTN_INVALID_TEXT},
    {"q7:7 d3", CLATTN_INVALID_TEXT},
    {"q7 q7 d3", CLATTN_INVALID_TEXT},
    {"q7 q8 d3", CLATTN_INVALID_TEXT},
    {"q7 k7 k7 d3", CLATTN_INVALID_TEXT},
    {"q7 d3 d3", CLATTN_INVALID_TEXT},
    {"b1 q7 d3 b1", CLATTN_INVALID_TEXT},
    {"h2 q7 d3 h2", CLATTN_INVALID_TEXT},
    {"q7 d0", CLATTN_INVALID_TEXT},
    {"q7 d3:", CLATTN_INVALID_TEXT},
    {"q7 d:3", CLATTN_INVALID_TEXT},
    {"q7 d3:0", CLATTN_INVALID_TEXT},
    {"q7 d3:3:3", CLATTN_INVALID_TEXT},
    {"q7 d3,3", CLATTN_INVALID_TEXT},
    {"q7 d-3", CLATTN_INVALID_TEXT},
    {"h0 q7 d3", CLATTN_INVALID_TEXT},
    {"h2:0 q7 d3", CLATTN_INVALID_TEXT},
    {"h:2 q7 d3", CLATTN_INVALID_TEXT},
    {"h2: q7 d3", CLATTN_INVALID_TEXT},
    {"h2:1:1 q7 d3", CLATTN_INVALID_TEXT},
    {"b2:2 q7 d3", CLATTN_INVALID_TEXT},
    {"q4294967296 d3", CLATTN_INVALID_TEXT},
    {"q18446744073709551617 d3", CLATTN_INVALID_TEXT},
    {"q99999999999999999999999999 d3", CLATTN_INVALID_TEXT},
    {"f32 f32 q7 d3", CLATTN_INVALID_TEXT},
    {"f32 f16 q7 d3", CLATTN_INVALID_TEXT},
    {"f64 q7 d3", CLATTN_INVALID_TEXT},
    {"kf16 kf16 q7 d3", CLATTN_INVALID_TEXT},
    {"vf16 vf32 q7 d3", CLATTN_INVALID_TEXT},
    {"df16 df16 q7 d3", CLATTN_INVALID_TEXT},
    {"qf16 q7 d3", CLATTN_INVALID_TEXT},
    {"kf64 q7 d3", CLATTN_INVALID_TEXT},
    {"kF16 q7 d3", CLATTN_INVALID_TEXT},
    {"kkf16 q7 d3", CLATTN_INVALID_TEXT},
    {"kf16:f16 q7 d3", CLATTN_INVALID_TEXT},
    {"F16 q7 d3", CLATTN_INVALID_TEXT},
    {"fp16 q7 d3", CLATTN_INVALID_TEXT},
    {"f q7 d3", CLATTN_INVALID_TEXT},
    {"q7 d3 causal causal", CLATTN_INVALID_TEXT},
    {"q7 d3 bwd bwd", CLATTN_INVALID_TEXT},
    {"q7 d3 bwd fwd", CLATTN_INVALID_TEXT},
    {"q7 d3 backward", CLATTN_INVALID_TEXT},
    {"q7 d3 causal window2,2", CLATTN_INVALID_TEXT},
    {"q7 d3 causa", CLATTN_INVALID_TEXT},
    {"q7 d3 causals", CLATTN_INVALID_TEXT},
    {"q7 d3 window", CLATTN_INVALID_TEXT},
    {"q7 d3 window2", CLATTN_INVALID_TEXT},
    {"q7 d3 window2,", CLATTN_INVALID_TEXT},
    {"q7 d3 window,2", CLATTN_INVALID_TEXT},
    {"q7 d3 window2,2,2", CLATTN_INVALID_TEXT},
    {"q7 d3 window2:2", CLATTN_INVALID_TEXT},
    {"q7 d3 window2, 2", CLATTN_INVALID_TEXT},
    {"q7 d3 window-2,0", CLATTN_INVALID_TEXT},
    {"q7 d3 window0,-2", CLATTN_INVALID_TEXT},
    {"q7 d3 window2147483648,0", CLATTN_INVALID_TEXT},
    {"q7 d3 start end", CLATTN_INVALID_TEXT},
    {"q7 d3 start start", CLATTN_INVALID_TEXT},
    {"q7 d3 middle", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap-1", CLATTN_INVALID_TEXT},
    {"q7 d3 softcapnan", CLATTN_INVALID_TEXT},
    {"q7 d3 softcapinf", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap1e39", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap1e999999", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap1e", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap1e+-2", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap1e-60", CLATTN_INVALID_TEXT}, /* below all floats: not 0, which is none */
    {"q7 d3 softcap0.00000000000000000000000000000000000000000000000000001", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap.", CLATTN_INVALID_TEXT},
    {"q7 d3 softcape5", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap1.2.3", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap1,5", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap0x1p3", CLATTN_INVALID_TEXT},
    {"q7 d3 softcap2 softcap2", CLATTN_INVALID_TEXT},
    {"q7 d3 alibi alibi", CLATTN_INVALID_TEXT},
    {"q7 d3 alibi2", CLATTN_INVALID_TEXT},
    {"q7 d3 bias biasf16", CLATTN_INVALID_TEXT},
    {"q7 d3 biasf8", CLATTN_INVALID_TEXT},
    {"q7 d3 maskf16", CLATTN_INVALID_TEXT},
    {"q7 d3 variant=fwd_rows", CLATTN_INVALID_TEXT},
    /* well-formed texts of problems that are not offered */
    {"q7 d513", CLATTN_UNSUPPORTED},
    {"q7 d3:513", CLATTN_UNSUPPORTED},
    {"q1073741824 d3", CLATTN_UNSUPPORTED},
    {"q7 k4294967295 d3", CLATTN_UNSUPPORTED},
    {"h3:2 q7 d3", CLATTN_INVALID_DESC},
    {"h2:4 q7 d3", CLATTN_INVALID_DESC},
};

enum { TEXT_SIZE = 128 };

static void assert_same_problem(const char *what, const clattn_desc *a, const clattn_desc *b) {
    struct problem p = {0}, r = {0};
    struct status status = {0};
    assert_int_equal(problem_from_desc(&p, a, &status), CL_SUCCESS);
    assert_int_equal(problem_from_desc(&r, b, &status), CL_SUCCESS);
    if (p.type != r.type || p.type_k != r.type_k || p.type_v != r.type_v || p.type_o != r.type_o ||
        p.type_d != r.type_d || p.batch != r.batch || p.heads_q != r.heads_q ||
        p.heads_kv != r.heads_kv || p.seq_q != r.seq_q || p.seq_kv != r.seq_kv ||
        p.head_dim != r.head_dim || p.head_dim_v != r.head_dim_v || p.band_left != r.band_left ||
        p.band_right != r.band_right || p.align != r.align || p.softcap != r.softcap ||
        p.features != r.features) {
        fail_msg("another problem: %s", what);
    }
}

static void texts_round_trip(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        clattn_desc first = CLATTN_DESC_INIT, again = CLATTN_DESC_INIT;
        char written[TEXT_SIZE];
        if (clattn_desc_parse(texts[i].read, &first) != CL_SUCCESS) {
            fail_msg("refused: \"%s\"", texts[i].read);
        }
        assert_int_equal(first.size, sizeof first);
        assert_null(first.variant);
        assert_int_equal(clattn_desc_format(&first, written, sizeof written, NULL), CL_SUCCESS);
        assert_string_equal(written, texts[i].written);
        assert_int_equal(clattn_desc_parse(written, &again), CL_SUCCESS);
        assert_same_problem(written, &first, &again);
    }
}

static void fields_are_what_was_written(void **state) {
    (void)state;
    clattn_desc d = CLATTN_DESC_INIT;
    assert_int_equal(
        clattn_desc_parse("bf16 b3 h12:4 q100 k200 d96:80 window17,5 start softcap2.5", &d),
        CL_SUCCESS);
    assert_int_equal(d.type, CLATTN_BF16);
    assert_int_equal(d.batch, 3);
    assert_int_equal(d.heads_q, 12);
    assert_int_equal(d.heads_kv, 4);
    assert_int_equal(d.seq_q, 100);
    assert_int_equal(d.seq_kv, 200);
    assert_int_equal(d.head_dim, 96);
    assert_int_equal(d.head_dim_v, 80);
    assert_int_equal(d.band_left, 17);
    assert_int_equal(d.band_right, 5);
    assert_int_equal(d.align, CLATTN_ALIGN_START);
    assert_true(d.softcap == 2.5f);
    assert_int_equal(d.type_k | d.type_v | d.type_o | d.type_d, 0);

    assert_int_equal(clattn_desc_parse("kf16 vbf16 of16 dbf16 q5 d8", &d), CL_SUCCESS);
    assert_int_equal(d.type, CLATTN_F32);
    assert_int_equal(d.type_k, CLATTN_F16);
    assert_int_equal(d.type_v, CLATTN_BF16);
    assert_int_equal(d.type_o, CLATTN_F16);
    assert_int_equal(d.type_d, CLATTN_BF16);

    assert_int_equal(clattn_desc_parse("q5 d8", &d), CL_SUCCESS); /* all else is default again */
    const clattn_desc expected = {.size = sizeof d,
                                  .type = CLATTN_F32,
                                  .batch = 1,
                                  .heads_q = 1,
                                  .seq_q = 5,
                                  .seq_kv = 5,
                                  .head_dim = 8,
                                  .band_left = CLATTN_UNBOUNDED,
                                  .band_right = CLATTN_UNBOUNDED,
                                  .align = CLATTN_ALIGN_END};
    assert_same_problem("q5 d8", &d, &expected);
}

/* A small generator of our own: the same numbers everywhere. */
static cl_uint draw(cl_uint *seed, cl_uint below) {
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

static void drawn_problems_round_trip(void **state) {
    (void)state;
    cl_uint seed = 1;
    for (int i = 0; i < 20000; i++) {
        clattn_desc d = CLATTN_DESC_INIT, again = CLATTN_DESC_INIT;
        d.type = CLATTN_F32 + draw(&seed, 3);
        d.type_k = draw(&seed, 4);
        d.type_v = draw(&seed, 4);
        d.type_o = draw(&seed, 4);
        d.type_d = draw(&seed, 4);
        d.batch = draw(&seed, 4);
        d.heads_kv = draw(&seed, 5);
        d.heads_q = (d.heads_kv ? d.heads_kv : 1) * (1 + draw(&seed, 4));
        d.seq_q = draw(&seed, 2) ? draw(&seed, 12) : draw(&seed, 1u << 20);
        d.seq_kv = draw(&seed, 2) ? d.seq_q : draw(&seed, 12);
        d.head_dim = 1 + draw(&seed, 512);
        d.head_dim_v = draw(&seed, 2) * draw(&seed, 513);
        d.band_left = (cl_int)draw(&seed, 14) - 1;
        d.band_right = (cl_int)draw(&seed, 14) - 1;
        d.align = draw(&seed, 2);
        d.features = draw(&seed, 2) ? CLATTN_FEATURE_ALIBI : 0;
        d.softcap = draw(&seed, 2) ? (float)draw(&seed, 1u << 24) / 4096.0f : 0.0f;
        char written[TEXT_SIZE], rewritten[TEXT_SIZE];
        assert_int_equal(clattn_desc_format(&d, written, sizeof written, NULL), CL_SUCCESS);
        if (clattn_desc_parse(written, &again) != CL_SUCCESS) {
            fail_msg("refused: \"%s\"", written);
        }
        assert_same_problem(written, &d, &again);
        assert_int_equal(clattn_desc_format(&again, rewritten, sizeof rewritten, NULL), CL_SUCCESS);
        assert_string_equal(rewritten, written);
    }
}

static void malformed_texts_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        clattn_desc d = CLATTN_DESC_INIT;
        char written[TEXT_SIZE];
        cl_int code = clattn_desc_parse(refused[i].text, &d);
        if (code == CL_SUCCESS) {
            code = clattn_desc_format(&d, written, sizeof written, NULL);
        }
        if (code != refused[i].code) {
            fail_msg("\"%s\": %s, not %s", refused[i].text, clattn_status_name(code),
                     clattn_status_name(refused[i].code));
        }
    }
    clattn_desc d = CLATTN_DESC_INIT;
    assert_int_equal(clattn_desc_parse(NULL, &d), CL_INVALID_VALUE);
    assert_int_equal(clattn_desc_parse("q7 d3", NULL), CL_INVALID_VALUE);
    const size_t sizes[] = {0, offsetof(clattn_desc, features) - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        d.size = sizes[i];
        assert_int_equal(clattn_desc_parse("q7 d3", &d), CLATTN_INVALID_DESC);
    }
    struct {
        clattn_desc desc;
        cl_ulong later; /* of a newer header: becomes 0, its default */
    } longer = {CLATTN_DESC_INIT, 1};
    longer.desc.size = sizeof longer;
    assert_int_equal(clattn_desc_parse("q7 d3", &longer.desc), CL_SUCCESS);
    assert_int_equal(longer.desc.size, sizeof longer);
    assert_int_equal(longer.desc.seq_q, 7);
    assert_int_equal(longer.later, 0);
}

static void formatting_fits_any_capacity(void **state) {
    (void)state;
    clattn_desc d = CLATTN_DESC_INIT;
    char whole[TEXT_SIZE], cut[TEXT_SIZE];
    size_t needed = 0;
    assert_int_equal(clattn_desc_parse("f16 h8:2 q100 d64 causal", &d), CL_SUCCESS);
    assert_int_equal(clattn_desc_format(&d, NULL, 0, &needed), CL_SUCCESS);
    assert_int_equal(clattn_desc_format(&d, NULL, 0, NULL), CL_SUCCESS);
    assert_int_equal(clattn_desc_format(&d, whole, sizeof whole, NULL), CL_SUCCESS);
    assert_int_equal(needed, strlen(whole) + 1);
    for (size_t capacity = 0; capacity <= needed + 1; capacity++) {
        size_t again = 0;
        memset(cut, '#', sizeof cut);
        assert_int_equal(clattn_desc_format(&d, cut, capacity, &again), CL_SUCCESS);
        assert_int_equal(again, needed);
        const size_t kept = capacity == 0 ? 0 : capacity < needed ? capacity - 1 : needed - 1;
        assert_memory_equal(cut, whole, kept);
        assert_int_equal(cut[kept], capacity ? '\0' : '#');
        assert_int_equal(cut[capacity < needed ? capacity : needed], '#');
    }
    assert_int_equal(clattn_desc_format(NULL, cut, sizeof cut, NULL), CL_INVALID_VALUE);
    assert_int_equal(clattn_desc_format(&d, NULL, 5, NULL), CL_INVALID_VALUE);
    d.size = 0;
    assert_int_equal(clattn_desc_format(&d, cut, sizeof cut, NULL), CLATTN_INVALID_DESC);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_round_trip),
        cmocka_unit_test(fields_are_what_was_written),
        cmocka_unit_test(drawn_problems_round_trip),
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(formatting_fits_any_capacity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
