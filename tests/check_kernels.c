/*
 * Has every solver compose its program, for devices that are not there, so that
 * check_kernels.sh can have the texts checked: the variants of tuning.txt, and those
 * that the solvers' formulas choose.  Programs go to CLATTN_DUMP.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compose.h"
#include "engines.h"
#include "sources.h"

static const struct device devices[] = {
    {.name = "a wide CPU",
     .architecture = "cpu/16",
     .type = DEVICE_CPU,
     .compute_units = 8,
     .work_group = 4096,
     .work_items = 4096,
     .local_memory = 1 << 20,
     .float_width = 16,
     .address_bits = 64},
    {.name = "a narrow CPU",
     .architecture = "cpu/4",
     .type = DEVICE_CPU,
     .compute_units = 4,
     .work_group = 1024,
     .work_items = 1024,
     .local_memory = 32 << 10,
     .float_width = 4,
     .address_bits = 64},
    {.name = "a large GPU",
     .architecture = "nvidia/9.0",
     .matrix = "nv80",
     .type = DEVICE_GPU,
     .compute_units = 132,
     .work_group = 1024,
     .work_items = 1024,
     .local_memory = 226 << 10,
     .float_width = 1,
     .address_bits = 64},
    {.name = "a middling GPU",
     .architecture = "amd/gfx1030",
     .type = DEVICE_GPU,
     .compute_units = 48,
     .work_group = 256,
     .work_items = 1024,
     .local_memory = 64 << 10,
     .float_width = 1,
     .address_bits = 64},
    {.name = "the embedded minimum",
     .type = DEVICE_GPU,
     .compute_units = 1,
     .work_group = 1,
     .work_items = 1,
     .local_memory = 1 << 10,
     .float_width = 1,
     .address_bits = 32},
};

/* One that has the engine. */
static struct device engine_device(const struct engine *engine) {
    struct device d = {.type = DEVICE_GPU,
                       .compute_units = 64,
                       .work_group = 256,
                       .work_items = 1024,
                       .local_memory = 64 << 10,
                       .float_width = 1,
                       .address_bits = 64};
    const char *words = engine->architectures, *word;
    const size_t length = text_word(&words, &word);
    snprintf(d.name, sizeof d.name, "a device with %s", engine->name);
    snprintf(d.architecture, sizeof d.architecture, "%.*s", (int)length, word);
    snprintf(d.matrix, sizeof d.matrix, "%s", engine->name);
    return d;
}

static const char *const problems[] = {
    "f32 h8:2 q4096 d64",
    "f32 q100 k300 d33:65 causal softcap30",
    "f16 b2 h16 q16384 d128 causal",
    "f16 q1 k4096 d1:512",
    "bf16 q2048 d80 window128,0",
    "bf16 q7 d512:1 softcap50",
    "f32 h8 q1024 d64 causal alibi",
    "f16 h8:2 q1000 k3000 d128 alibi",
    "f32 h8 q1024 d64 causal bias mask sink",
    "f16 h8:2 q1000 k3000 d128 biasf32 sink",
    "f32 h4:2 q100 k300 d33:65 causal softcap30 bwd",
    "f16 q2048 d80 bwd",
};

static unsigned composed;
static bool seen[COMPOSE_LINES]; /* lines of tuning.txt */

/* What finds an engine on a device, to be linted as well. */
static void write_probes(const char *directory) {
    for (const struct engine *engine = engines_table; engine->name; engine++) {
        char path[256];
        struct text probe = {0};
        snprintf(path, sizeof path, "%s/probe-%s.cl", directory, engine->name);
        engines_probe_text(engine, &probe);
        FILE *file = engine->architectures ? fopen(path, "wb") : NULL;
        if (file) {
            fputs(text_chars(&probe), file);
            fclose(file);
            composed++;
        }
        text_destroy(&probe);
    }
}

/* The number of variants in tuning.txt that no device and problem above has reached. */
static int unseen(void) {
    int count = 0;
    size_t line = 1;
    for (const char *at = sources_find("tuning.txt")->text; *at; line++) {
        const size_t length = strcspn(at, "\n");
        if (memchr(at, ';', length) && *at != '#' && (line >= COMPOSE_LINES || !seen[line])) {
            fprintf(stderr,
                    "tuning.txt:%zu: not composed; give check_kernels.c its device or problem\n",
                    line);
            count++;
        }
        at += length + (at[length] == '\n');
    }
    return count;
}

int main(void) {
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        struct status status = {0};
        clattn_desc desc = CLATTN_DESC_INIT;
        struct problem p;
        if (clattn_desc_parse(problems[i], &desc) != CL_SUCCESS ||
            problem_from_desc(&p, &desc, &status) != CL_SUCCESS) {
            fprintf(stderr, "no problem: %s\n", problems[i]);
            return 1;
        }
        for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
            compose_all(&p, &devices[d], COMPOSE_ALL, &composed, seen);
        }
        for (const struct engine *engine = engines_table; engine->name; engine++) {
            if (engine->architectures) {
                const struct device d = engine_device(engine);
                compose_all(&p, &d, COMPOSE_ALL, &composed, seen);
            }
        }
        status_destroy(&status);
    }
    if (getenv("CLATTN_DUMP")) {
        write_probes(getenv("CLATTN_DUMP"));
    }
    printf("%u programs composed\n", composed);
    return unseen() != 0;
}
