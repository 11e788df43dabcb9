#include "bench_problems.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const bench_problems_presets =
    "  paper    f16, 16,384 tokens in all, S 512 to 16,384, D 64, 128, 256 with 32, 16, 8\n"
    "           heads, full and causal: the tables of the FlashAttention papers\n"
    "  llm      f16, causal, D 128, 32 query heads on 8 key heads: reading a prompt\n"
    "  vision   f16, full, D 64, few and odd lengths: image and video encoders\n"
    "  cpu      f32 and some f16, 8 heads, S 128 to 4,096, D 64 and 128: a few cores\n"
    "  train    bf16, causal, forward and backward, 8,192 tokens in all, S 1,024 to 8,192, D 64\n"
    "           with 16 heads, D 128 with 32 on 8\n"
    "  decode   f16, D 128, 32 query heads on 8: one query over caches of 1,024 to 65,536 keys,\n"
    "           batch 1 and 16\n";

char *bench_problems_plain(const char *text, bool *both) {
    static const char blanks[] = " \t\r\n", word[] = "fwd+bwd", plain[] = "bwd";
    char *copy = malloc(strlen(text) + 1), *to = copy;
    *both = false;
    for (const char *at = text; copy && *at;) {
        const size_t gap = strspn(at, blanks), length = strcspn(at + gap, blanks);
        const bool is_both = length == strlen(word) && strncmp(at + gap, word, length) == 0;
        const char *from = is_both ? plain : at + gap;
        const size_t shorter = is_both ? strlen(plain) : length;
        memcpy(to, at, gap);
        memcpy(to + gap, from, shorter);
        to += gap + shorter;
        at += gap + length;
        *both = *both || is_both;
    }
    if (copy) {
        *to = '\0';
    }
    return copy;
}

cl_int bench_problems_add(struct bench_problems *p, const char *text) {
    struct bench_problem problem = {.desc = CLATTN_DESC_INIT};
    snprintf(problem.text, sizeof problem.text, "%s", text);
    char *plain = bench_problems_plain(text, &problem.both);
    cl_int status = plain ? clattn_desc_parse(plain, &problem.desc) : CL_OUT_OF_HOST_MEMORY;
    free(plain);
    if (status == CL_SUCCESS && problem.desc.pass > CLATTN_BACKWARD) {
        status = CLATTN_UNSUPPORTED;
    }
    if (status != CL_SUCCESS) {
        return status;
    }
    struct bench_problem *grown = realloc(p->problem, (p->count + 1) * sizeof *grown);
    if (!grown) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    p->problem = grown;
    p->problem[p->count++] = problem;
    return CL_SUCCESS;
}

static cl_int add(struct bench_problems *p, const char *type, int batch, const char *heads,
                  int length, int dim, const char *mask) {
    char text[128];
    snprintf(text, sizeof text, "%s b%d h%s q%d d%d %s", type, batch, heads, length, dim, mask);
    return bench_problems_add(p, text);
}

static cl_int add_paper(struct bench_problems *p) {
    static const struct {
        int dim;
        const char *heads;
    } models[] = {{64, "32"}, {128, "16"}, {256, "8"}};
    cl_int status = CL_SUCCESS;
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        for (int causal = 0; causal < 2; causal++) {
            for (int length = 512; length <= 16384 && status == CL_SUCCESS; length *= 2) {
                status = add(p, "f16", 16384 / length, models[m].heads, length, models[m].dim,
                             causal ? "causal" : "");
            }
        }
    }
    return status;
}

static cl_int add_llm(struct bench_problems *p) {
    cl_int status = CL_SUCCESS;
    for (int length = 512; length <= 32768 && status == CL_SUCCESS; length *= 2) {
        status = add(p, "f16", 1, "32:8", length, 128, "causal");
    }
    return status;
}

/* 14 x 14 patches and a class token, 24 x 24, 32 x 32 and 64 x 64 patches. */
static cl_int add_vision(struct bench_problems *p) {
    static const struct {
        int length, batch;
    } pictures[] = {{197, 64}, {576, 16}, {1024, 8}, {4096, 2}};
    cl_int status = CL_SUCCESS;
    for (size_t i = 0; i < sizeof pictures / sizeof pictures[0] && status == CL_SUCCESS; i++) {
        status = add(p, "f16", pictures[i].batch, "16", pictures[i].length, 64, "");
    }
    return status;
}

static cl_int add_cpu(struct bench_problems *p) {
    cl_int status = CL_SUCCESS;
    for (int dim = 64; dim <= 128; dim *= 2) {
        for (int causal = 0; causal < 2; causal++) {
            for (int length = 128; length <= 4096 && status == CL_SUCCESS; length *= 2) {
                status = add(p, "f32", 1, "8", length, dim, causal ? "causal" : "");
            }
            for (int length = 1024; length <= 4096 && status == CL_SUCCESS; length *= 4) {
                status = add(p, "f16", 1, "8", length, dim, causal ? "causal" : "");
            }
        }
    }
    return status;
}

static cl_int add_train(struct bench_problems *p) {
    static const struct {
        const char *heads;
        int dim;
    } models[] = {{"16", 64}, {"32:8", 128}};
    cl_int status = CL_SUCCESS;
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        for (int length = 1024; length <= 8192 && status == CL_SUCCESS; length *= 2) {
            for (int backward = 0; backward < 2 && status == CL_SUCCESS; backward++) {
                status = add(p, "bf16", 8192 / length, models[m].heads, length, models[m].dim,
                             backward ? "causal bwd" : "causal");
            }
        }
    }
    return status;
}

static cl_int add_decode(struct bench_problems *p) {
    cl_int status = CL_SUCCESS;
    for (int batch = 1; batch <= 16; batch += 15) {
        for (int keys = 1024; keys <= 65536 && status == CL_SUCCESS; keys *= 4) {
            char cache[32];
            snprintf(cache, sizeof cache, "k%d", keys);
            status = add(p, "f16", batch, "32:8", 1, 128, cache);
        }
    }
    return status;
}

cl_int bench_problems_add_preset(struct bench_problems *p, const char *name) {
    static const struct {
        const char *name;
        cl_int (*add)(struct bench_problems *p);
    } presets[] = {{"paper", add_paper}, {"llm", add_llm},     {"vision", add_vision},
                   {"cpu", add_cpu},     {"train", add_train}, {"decode", add_decode}};
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(name, presets[i].name) == 0) {
            return presets[i].add(p);
        }
    }
    return CLATTN_INVALID_TEXT;
}

void bench_problems_destroy(struct bench_problems *p) {
    free(p->problem);
    *p = (struct bench_problems){0};
}
