#include "engines.h"

#include <stdio.h>
#include <string.h>

#include "sources.h"
#include "text.h"

#define INTEL_MULTIPLIES "cl_intel_subgroup_matrix_multiply_accumulate"
#define INTEL_OPTIONS "-cl-intel-256-GRF-per-thread"

/* The limits of nv80 are measured (H200, D 64, 128 and 256).  Those of AMD and Intel are by
 * compilers alone, unmeasured: with them no chosen variant of tests/offline spills.  With more keys
 * amd_mfma's compiler keeps scalars in lanes of vector registers, and Intel's leaves the loop over
 * keys rolled and so the scores in memory.  The limits of bwd_mma are by compilers alone, for nv80,
 * too. amd_wmma11, whose operands are twice as large as others', spills in bwd_mma at D 256 (there
 * is no smaller shape), and elsewhere where sums of two gradients leave less room.
 *
 * name, architectures, extension, lanes, queries, left, right, floats, address, keys,
 * one_gradient, two_gradients, options */
const struct engine engines_table[] = {
    /* From 8.0 on; "nvidia/1" begins 10.0 and later ones. */
    {"nv80", "nvidia/8. nvidia/9. nvidia/1", NULL, 32, 16, 8, 4, 192, 0, 128, 192, 192, ""},
    {"amd_wmma11", "amd/gfx11", NULL, 32, 16, 16, 16, 152, 4, 64, 152, 80, ""},
    {"amd_wmma12", "amd/gfx120", NULL, 32, 16, 8, 8, 152, 4, 64, 160, 160, ""},
    {"amd_mfma", "amd/gfx90a amd/gfx94 amd/gfx950", NULL, 64, 16, 4, 4, 160, 0, 64, 160, 160, ""},
    /* Arc A can run sub-groups of 16, though not this instruction: 8 is to be tried first. */
    {"intel_dpas8", "intel", INTEL_MULTIPLIES, 8, 8, 16, 16, 144, 0, 16, 160, 128, INTEL_OPTIONS},
    {"intel_dpas16", "intel", INTEL_MULTIPLIES, 16, 16, 16, 8, 144, 0, 16, 160, 128, INTEL_OPTIONS},
    {"plain", NULL, NULL, 1, 1, 16, 256, 4096, 0, 128, 4096, 4096, ""},
    {.name = NULL},
};

const struct engine *engines_find(const char *chars, size_t length) {
    for (const struct engine *engine = engines_table; engine->name; engine++) {
        if (text_is(chars, length, engine->name)) {
            return engine;
        }
    }
    return NULL;
}

const struct engine *engines_first(const struct device *d) {
    const char *words = d->matrix, *word;
    for (size_t length; (length = text_word(&words, &word)) > 0;) {
        const struct engine *engine = engines_find(word, length);
        if (engine) {
            return engine;
        }
    }
    return NULL;
}

bool engines_has(const struct device *d, const struct engine *engine) {
    const char *words = d->matrix, *word;
    for (size_t length; (length = text_word(&words, &word)) > 0;) {
        if (text_is(word, length, engine->name)) {
            return true;
        }
    }
    return false;
}

/* Everything of the part that only its own device has; types that differ in their
 * instructions differ in no engine's device. */
void engines_probe_text(const struct engine *engine, struct text *out) {
    text_printf(out,
                "#define TYPE_K 3\n#define element_k element_bf16\n#define LANES 1\n#define "
                "HEAD_DIM 16\n#define HEAD_DIM_V 16\n"
                "#define MASKED 0\n#define WAVES 1\n#define ENGINE %s\n#define EMULATED 0\n"
                "#define FAST_LOADS 1\n",
                engine->name);
    struct text part = {0};
    text_printf(&part, "engine_%s.cl", engine->name);
    const char *const parts[] = {"base.cl", "storage.cl", "engine.cl", text_chars(&part)};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const struct source *source = sources_find(parts[i]);
        if (source) {
            text_append(out, source->text, source->length);
        } else {
            text_printf(out, "#error \"there is no cl/%s\"\n", parts[i]);
        }
    }
    text_destroy(&part);
    text_printf(out,
                "#if ENGINE_LANES != %u || ENGINE_QUERIES != %u || ENGINE_LEFT != %u || "
                "ENGINE_RIGHT != %u\n"
                "#error \"src/engines.c has other sizes than the part\"\n"
                "#endif\n",
                engine->lanes, engine->queries, engine->left, engine->right);
    text_printf(
        out,
        "__kernel ENGINE_ATTRIBUTES __attribute__((reqd_work_group_size(ENGINE_LANES, 1, 1)))\n"
        "void probe(__global float *x, __global const uint *y) {\n"
        "    const struct engine_wave w = {(int)get_local_id(0), 0};\n"
        "    uint left[ENGINE_LEFT / 2], right[ENGINE_RIGHT / 2];\n"
        "    float acc[ENGINE_ACC];\n"
        "    UNROLL for (int i = 0; i < ENGINE_LEFT / 2; i++) left[i] = y[i];\n"
        "    UNROLL for (int i = 0; i < ENGINE_RIGHT / 2; i++) right[i] = y[i];\n"
        "    UNROLL for (int i = 0; i < ENGINE_ACC; i++) acc[i] = x[i];\n"
        "    engine_multiply(acc, left, right, w);\n"
        "    UNROLL for (int i = 0; i < ENGINE_ACC; i++) x[i] = engine_exchange(acc[i], "
        "ENGINE_SHARE & -ENGINE_SHARE, w);\n"
        "}\n");
}

void engines_probe_options(const struct engine *engine, struct text *out) {
    text_printf(out, "%s %s%s%s", SOURCES_OPTIONS, ENGINES_OPTIONS, *engine->options ? " " : "",
                engine->options);
}

static bool builds(const struct engine *engine, cl_context context, cl_device_id id) {
    struct text program_text = {0}, options = {0};
    engines_probe_text(engine, &program_text);
    engines_probe_options(engine, &options);
    const char *source = text_chars(&program_text);
    cl_int code = CL_OUT_OF_HOST_MEMORY;
    cl_program program = program_text.failed || options.failed
                             ? NULL
                             : clCreateProgramWithSource(context, 1, &source, NULL, &code);
    if (code == CL_SUCCESS) {
        code = clBuildProgram(program, 1, &id, text_chars(&options), NULL, NULL);
        clReleaseProgram(program);
    }
    text_destroy(&program_text);
    text_destroy(&options);
    return code == CL_SUCCESS;
}

static bool is_listed(const char *architecture, const char *prefixes) {
    const char *prefix;
    for (size_t length; (length = text_word(&prefixes, &prefix)) > 0;) {
        if (strncmp(architecture, prefix, length) == 0) {
            return true;
        }
    }
    return false;
}

void engines_probe(struct device *d, cl_context context, cl_device_id id, struct text *failed) {
    d->matrix[0] = '\0';
    for (const struct engine *engine = engines_table; engine->name && !d->matrix[0]; engine++) {
        if (!engine->architectures || !is_listed(d->architecture, engine->architectures)) {
            continue;
        }
        if (builds(engine, context, id)) {
            snprintf(d->matrix, sizeof d->matrix, "%s", engine->name);
        } else if (!engine->extension || device_has_extension(id, engine->extension)) {
            text_printf(failed, "%s%s", failed->length ? " " : "", engine->name);
        }
    }
}
