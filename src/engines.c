#include "engines.h"

#include <string.h>

#include "text.h"

const struct engine engines_table[ENGINES] = {
    {"nv80", "nvidia/", 32, 16, 8, 8, 4, 192,
     "__kernel void probe(__global float *x) {\n"
     "    float c0 = x[0], c1 = x[1], c2 = x[2], c3 = x[3];\n"
     "    uint a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0;\n"
     "    __asm volatile(\"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 \"\n"
     "                 \"{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\"\n"
     "                 : \"+f\"(c0), \"+f\"(c1), \"+f\"(c2), \"+f\"(c3)\n"
     "                 : \"r\"(a0), \"r\"(a1), \"r\"(a2), \"r\"(a3), \"r\"(b0), \"r\"(b1));\n"
     "    __asm volatile(\"cp.async.wait_all;\" : : : \"memory\");\n"
     "    x[0] = c0 + c1 + c2 + c3;\n"
     "}\n"},
    {"plain", NULL, 1, 1, 16, 16, 256, 4096, NULL},
};

const struct engine *engines_find(const char *chars, size_t length) {
    for (size_t i = 0; i < ENGINES; i++) {
        if (text_is(chars, length, engines_table[i].name)) {
            return &engines_table[i];
        }
    }
    return NULL;
}

const struct engine *engines_first(const device *d) {
    const char *words = d->matrix, *word;
    for (size_t length; (length = text_word(&words, &word)) > 0;) {
        const struct engine *engine = engines_find(word, length);
        if (engine) {
            return engine;
        }
    }
    return NULL;
}

bool engines_has(const device *d, const struct engine *engine) {
    const char *words = d->matrix, *word;
    for (size_t length; (length = text_word(&words, &word)) > 0;) {
        if (text_is(word, length, engine->name)) {
            return true;
        }
    }
    return false;
}

static bool builds(const char *source, cl_context context, cl_device_id id) {
    cl_int code;
    cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, &code);
    if (code != CL_SUCCESS) {
        return false;
    }
    code = clBuildProgram(program, 1, &id, "", NULL, NULL);
    clReleaseProgram(program);
    return code == CL_SUCCESS;
}

void engines_probe(device *d, cl_context context, cl_device_id id) {
    size_t used = 0;
    d->matrix[0] = '\0';
    for (size_t i = 0; i < ENGINES; i++) {
        const struct engine *engine = &engines_table[i];
        const size_t length = strlen(engine->name);
        if (engine->probe &&
            strncmp(d->architecture, engine->architecture, strlen(engine->architecture)) == 0 &&
            used + length + 2 <= sizeof d->matrix && builds(engine->probe, context, id)) {
            used += used > 0;
            memcpy(d->matrix + used, engine->name, length + 1);
            if (used) {
                d->matrix[used - 1] = ' ';
            }
            used += length;
        }
    }
}
