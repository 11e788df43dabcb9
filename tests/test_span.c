/*
 * cl/span.cl against the definition of a band, key by key and query by query, in both directions:
 * which keys a query and a block of queries see, which queries see a key and a block of keys.
 */
#include "device.h"
#include "params.h"
#include "sources.h"
#include "text.h"

#include <stdbool.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct test_device tested;

enum { MOST = 40, BLOCK = 7, FAR = 1 << 30 };

/* What the kernel writes of each query (index [0]) and each key ([1]). */
struct answers {
    cl_int one[2][MOST][2];         /* span_of_row, span_of_key */
    cl_int block[2][MOST][4];       /* of BLOCK of them, from this one on */
    cl_int boundary[2][MOST][MOST]; /* span_is_boundary of these and BLOCK of the others */
    cl_int sees[2][MOST][MOST];     /* span_sees: [query][key], by both of span_within's ways */
};

static const char kernel_text[] =
    "enum { MOST = 40, BLOCK = 7 };\n"
    "struct answers {\n"
    "    int one[2][MOST][2], block[2][MOST][4], boundary[2][MOST][MOST], sees[2][MOST][MOST];\n"
    "};\n"
    "__kernel void answer(const struct params p, __global struct answers *a) {\n"
    "    struct band b;\n    slice_band(&p, &b);\n"
    "    __local long kept[2];\n"
    "    kept[0] = span_first(&b, 0);\n"
    "    kept[1] = span_last(&b, 0);\n"
    "    for (int i = 0; i < b.seq_q; i++) {\n"
    "        const int4 block = span_of_rows(&b, i, min(i + BLOCK, b.seq_q) - 1);\n"
    "        vstore2(span_of_row(&b, i), 0, a->one[0][i]);\n"
    "        vstore4(block, 0, a->block[0][i]);\n"
    "        for (int j = 0; j < b.seq_kv; j++) {\n"
    "            a->boundary[0][i][j] = span_is_boundary(block, j, BLOCK);\n"
    "            const int row0 = i / BLOCK * BLOCK, key0 = j / BLOCK * BLOCK;\n"
    "            a->sees[0][i][j] = span_sees(span_within(&b, row0, key0), i - row0, j - key0);\n"
    "            a->sees[1][i][j] =\n"
    "                span_sees(span_within_kept(kept, b.seq_kv, row0, key0), i - row0, j - key0);\n"
    "        }\n"
    "    }\n"
    "    for (int j = 0; j < b.seq_kv; j++) {\n"
    "        const int4 block = span_of_keys(&b, j, min(j + BLOCK, b.seq_kv) - 1);\n"
    "        vstore2(span_of_key(&b, j), 0, a->one[1][j]);\n"
    "        vstore4(block, 0, a->block[1][j]);\n"
    "        for (int i = 0; i < b.seq_q; i++) {\n"
    "            a->boundary[1][j][i] = span_is_boundary(block, i, BLOCK);\n"
    "        }\n"
    "    }\n"
    "}\n";

static cl_kernel kernels[2]; /* MASKED 0, 1 */

static cl_kernel build(int masked) {
    struct text composed = {0};
    text_printf(&composed,
                "#define LANES 1\n#define HEAD_DIM 1\n#define HEAD_DIM_V 1\n"
                "#define LENGTHS 0\n#define ALIGN_END 1\n"
                "#define MASKED %d\n#define PARAMS_STRIDES struct strides strides[%d]\n"
                "#define KERNEL_ARGUMENTS const struct params p\n",
                masked, OPERANDS);
    static const char *const parts[] = {"params.h", "base.cl", "slice.cl", "span.cl"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const struct source *source = sources_find(parts[i]);
        assert_non_null(source);
        text_append(&composed, source->text, source->length);
    }
    text_append(&composed, kernel_text, strlen(kernel_text));
    const char *chars = text_chars(&composed);
    cl_int code;
    cl_program program = clCreateProgramWithSource(tested.context, 1, &chars, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    assert_int_equal(clBuildProgram(program, 1, &tested.id, "-cl-std=CL1.2", NULL, NULL),
                     CL_SUCCESS);
    cl_kernel kernel = clCreateKernel(program, "answer", &code);
    assert_int_equal(code, CL_SUCCESS);
    clReleaseProgram(program);
    text_destroy(&composed);
    return kernel;
}

static void ask(cl_kernel kernel, const struct params *p, struct answers *a) {
    cl_int code;
    cl_mem buffer = clCreateBuffer(tested.context, CL_MEM_WRITE_ONLY, sizeof *a, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    const size_t one = 1;
    assert_int_equal(clSetKernelArg(kernel, 0, sizeof *p, p), CL_SUCCESS);
    assert_int_equal(clSetKernelArg(kernel, 1, sizeof buffer, &buffer), CL_SUCCESS);
    assert_int_equal(
        clEnqueueNDRangeKernel(tested.queue, kernel, 1, NULL, &one, &one, 0, NULL, NULL),
        CL_SUCCESS);
    assert_int_equal(
        clEnqueueReadBuffer(tested.queue, buffer, CL_TRUE, 0, sizeof *a, a, 0, NULL, NULL),
        CL_SUCCESS);
    clReleaseMemObject(buffer);
}

/* The definition. */
static bool sees(const struct params *p, bool masked, cl_int query, cl_int key) {
    const long long distance = (long long)key - query - p->diagonal;
    return query < p->seq_q && key < p->seq_kv &&
           (!masked || (distance >= -(long long)p->band_left && distance <= p->band_right));
}

/* Is what `span` says of the queries (by 0) or keys (by 1) begin ... begin + count - 1 what the
 * definition says?  (x, y) is what any of them sees, (z, w) what all see. */
static void check_span(const struct params *p, bool masked, int by, cl_int begin, cl_int count,
                       const cl_int any_of[2], const cl_int all_of[2]) {
    const cl_int length = by ? p->seq_kv : p->seq_q, others = by ? p->seq_q : p->seq_kv;
    assert_true(any_of[0] >= 0 && any_of[0] <= any_of[1] && any_of[1] <= others);
    for (cl_int other = 0; other < others; other++) {
        bool any = false, all = true;
        for (cl_int i = begin; i < begin + count && i < length; i++) {
            const bool seen = by ? sees(p, masked, other, i) : sees(p, masked, i, other);
            any = any || seen;
            all = all && seen;
        }
        if ((other >= any_of[0] && other < any_of[1]) != any ||
            (other >= all_of[0] && other < all_of[1]) != all) {
            fail_msg("q%d k%d diagonal %d left %d right %d: %s %d ... and %d", p->seq_q, p->seq_kv,
                     p->diagonal, p->band_left, p->band_right, by ? "keys" : "queries", begin,
                     other);
        }
    }
}

/* Is some pair of the blocks not seen, what lies beyond the others' end included? */
static bool is_boundary(const struct params *p, bool masked, int by, cl_int begin, cl_int other) {
    const cl_int length = by ? p->seq_kv : p->seq_q;
    bool all = true;
    for (cl_int i = begin; i < begin + BLOCK && i < length; i++) {
        for (cl_int j = other; j < other + BLOCK; j++) {
            all = all && (by ? sees(p, masked, j, i) : sees(p, masked, i, j));
        }
    }
    return !all;
}

static void check(const struct params *p, bool masked) {
    static struct answers a;
    memset(&a, 0x55, sizeof a);
    ask(kernels[masked], p, &a);
    for (int by = 0; by < 2; by++) {
        const cl_int length = by ? p->seq_kv : p->seq_q, others = by ? p->seq_q : p->seq_kv;
        for (cl_int i = 0; i < length; i++) {
            check_span(p, masked, by, i, 1, a.one[by][i], a.one[by][i]);
            check_span(p, masked, by, i, BLOCK, a.block[by][i], a.block[by][i] + 2);
            for (cl_int j = 0; j < others; j++) {
                assert_int_equal(a.boundary[by][i][j], is_boundary(p, masked, by, i, j));
            }
        }
    }
    for (cl_int i = 0; i < p->seq_q; i++) {
        for (cl_int j = 0; j < p->seq_kv; j++) {
            assert_int_equal(a.sees[0][i][j], sees(p, masked, i, j));
            assert_int_equal(a.sees[1][i][j], sees(p, masked, i, j));
        }
    }
}

static void lengths_diagonals_and_bands(void **state) {
    (void)state;
    static const cl_int lengths[][2] = {{1, 1}, {5, 9}, {9, 5}, {23, 40}, {40, 23}, {31, 31}};
    static const cl_int bands[][2] = {{0, 0}, {FAR, 0}, {0, FAR}, {3, 2}, {1, 11}, {FAR, FAR}};
    static const cl_int far[] = {-FAR, FAR};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        for (size_t b = 0; b < sizeof bands / sizeof *bands; b++) {
            struct params p = {.batch = 1,
                               .heads_q = 1,
                               .group = 1,
                               .seq_q = lengths[l][0],
                               .seq_kv = lengths[l][1],
                               .band_left = bands[b][0],
                               .band_right = bands[b][1]};
            const cl_int end = p.seq_kv - p.seq_q;
            const cl_int diagonals[] = {0, end, end - 8, end + 8, -p.seq_q - 20, p.seq_kv + 20};
            for (size_t d = 0; d < sizeof diagonals / sizeof *diagonals; d++) {
                p.diagonal = diagonals[d];
                check(&p, true);
            }
            for (size_t d = 0; d < sizeof far / sizeof *far; d++) {
                p.diagonal = far[d];
                check(&p, true);
            }
            check(&p, false);
        }
    }
}

static int open_device(void **state) {
    (void)state;
    if (!test_device_open(&tested)) {
        return -1;
    }
    kernels[0] = build(0);
    kernels[1] = build(1);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        clReleaseKernel(kernels[i]);
    }
    test_device_close(&tested);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_diagonals_and_bands),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
