#include "program.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feature.h"
#include "ptx.h"
#include "sources.h"

/* Of 2^12 keys: a row of 2^20 is a sum of 2^8 segments.  With blocks of fewer than 32 keys a
 * segment is at most 64 blocks. */
static cl_uint segment_of(cl_ulong all, long long block) {
    cl_uint rows = 4096;
    while (block < 32 && rows > 64 * block) {
        rows /= 2;
    }
    return all > rows ? rows : 0;
}

cl_uint program_segment(const struct problem *p, const struct variant *v) {
    return segment_of(problem_keys(p), variant_number(v, "BLOCK_N", 32));
}

/* Of a kernel: 0 where its sums have no more rows than recipe->segment_from. */
static cl_uint segment_of_kernel(const struct program_recipe *recipe, const struct problem *p,
                                 const struct variant *v) {
    const cl_ulong queries = (cl_ulong)problem_queries(p) * (p->heads_q / p->heads_kv);
    const cl_ulong rows = recipe->owns_keys ? queries : problem_keys(p);
    return rows <= recipe->segment_from ? 0
           : recipe->owns_keys          ? segment_of(queries, variant_number(v, "BLOCK_M", 32))
                                        : program_segment(p, v);
}

static void compose_options(const struct program_recipe *recipe, const struct variant *v,
                            struct text *options) {
    const char *const more[] = {recipe->options,
                                recipe->variant_options ? recipe->variant_options(v) : ""};
    text_printf(options, "%s", SOURCES_OPTIONS);
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        if (more[i] && *more[i]) {
            text_printf(options, " %s", more[i]);
        }
    }
}

cl_uint program_operands(const struct program_recipe *recipe, const struct problem *p) {
    return (operand_set(recipe->reads) | operand_set(recipe->writes)) &
           operand_set_of_features(p->features);
}

static void append_upper(struct text *composed, const char *name) {
    for (; *name; name++) {
        text_printf(composed, "%c", toupper((unsigned char)*name));
    }
}

/* qualifier: "restrict " of a kernel.  In a function that is inlined, it would leave an intrinsic
 * behind that Oclgrind does not know (cl/slice.cl). */
static void append_argument(struct text *out, const struct operand *operand, bool written,
                            const char *qualifier) {
    text_printf(out, ", __global %selement_%s *%s%s", written ? "" : "const ", operand->name,
                qualifier, operand->name);
}

/* The kernel's signature, its operands' strides in struct params (cl/params.h), their bits and the
 * types of their elements (cl/storage.cl).  The arguments that come with features once more, for
 * functions that the kernel hands them to. */
static void compose_operands(const struct program_recipe *recipe, const struct problem *p,
                             struct text *composed) {
    const cl_uint set = program_operands(recipe, p), written = operand_set(recipe->writes);
    struct text members = {0}, arguments = {0}, extras = {0}, passed = {0};
    for (size_t i = 0; i < operands_count; i++) {
        const struct operand *operand = &operands_table[i];
        if (!(set >> i & 1)) {
            continue;
        }
        text_printf(composed, "#define OPERAND_");
        append_upper(composed, operand->name);
        text_printf(composed, " %u\n#define TYPE_", OPERAND_BIT(i));
        append_upper(composed, operand->name);
        const clattn_type type = operand_type(operand, p);
        text_printf(composed, " %u\n#define element_%s element_%s\n", type, operand->name,
                    problem_element_name(type));
        text_printf(&members, "%s %s", members.length ? "," : "struct strides", operand->name);
        append_argument(&arguments, operand, written >> i & 1, recipe->in_place ? "" : "restrict ");
        if (operand->feature && !operand->gradient) {
            append_argument(&extras, operand, written >> i & 1, "");
            text_printf(&passed, ", %s", operand->name);
        }
    }
    if (set & OPERAND_BIT(OPERAND_WORKSPACE)) {
        text_printf(&arguments, ", __global float *restrict workspace");
    }
    text_printf(composed, "#define OPERANDS_TOGETHER %u\n", OPERAND_BIT(OPERANDS_TOGETHER));
    text_printf(composed, "#define PARAMS_STRIDES %s\n", text_chars(&members));
    text_printf(composed, "#define KERNEL_ARGUMENTS const struct params p%s\n",
                text_chars(&arguments));
    text_printf(composed, "#define EXTRA_PARAMETERS %s\n", text_chars(&extras));
    text_printf(composed, "#define EXTRA_ARGUMENTS %s\n", text_chars(&passed));
    composed->failed =
        composed->failed || members.failed || arguments.failed || extras.failed || passed.failed;
    text_destroy(&members);
    text_destroy(&arguments);
    text_destroy(&extras);
    text_destroy(&passed);
}

static void compose_parameters(const struct program_recipe *recipe, const struct problem *p,
                               const struct variant *v, const char *options,
                               struct text *composed) {
    /* Of the lengths only SEGMENT: problems that differ in nothing else share a program. */
    text_printf(composed, "/* ");
    variant_format(v, composed);
    text_printf(composed, " */\n/* options %s */\n%s", options,
                recipe->sm_90a ? "/* its PTX is built for sm_90a */\n" : "");
    text_printf(composed, "#define HEAD_DIM %u\n", p->head_dim);
    text_printf(composed, "#define HEAD_DIM_V %u\n", p->head_dim_v);
    text_printf(composed, "#define MASKED %d\n", problem_masked(p));
    text_printf(composed, "#define SOFTCAP %d\n", p->softcap != 0);
    for (const struct feature *f = features_table; f->bit; f++) {
        text_printf(composed, "#define ");
        append_upper(composed, f->word);
        text_printf(composed, " %d\n", (p->features & f->bit) != 0);
    }
    text_printf(composed, "#define SCORED %d\n", (p->features & feature_scored()) != 0);
    text_printf(composed, "#define HIDES %d\n", (p->features & feature_hides()) != 0);
    text_printf(composed, "#define SEGMENT %u\n", segment_of_kernel(recipe, p, v));
    compose_operands(recipe, p, composed);
    text_printf(composed, "%s", recipe->constants);
    if (recipe->pass) {
        text_printf(composed, "#define PASS %s\n", recipe->pass);
    }
    for (size_t i = 0; i < v->count; i++) {
        text_printf(composed, "#define %s %s\n", v->parameters[i].name, v->parameters[i].value);
    }
}

static size_t count_lines(const char *chars) {
    size_t lines = 0;
    for (; *chars; chars++) {
        lines += *chars == '\n';
    }
    return lines;
}

/* The source of a part's name, in which <WORD> stands for the variant's parameter. */
static const struct source *find_part(const char *name, const struct variant *v) {
    const char *open = strchr(name, '<'), *close = strchr(name, '>');
    if (!open || !close) {
        return sources_find(name);
    }
    struct text word = {0}, whole = {0};
    text_append(&word, open + 1, (size_t)(close - open - 1));
    const char *value = variant_find(v, text_chars(&word));
    assert(value || word.failed); /* the solver has completed the variant */
    text_printf(&whole, "%.*s%s%s", (int)(open - name), name, value ? value : "", close + 1);
    const struct source *found = sources_find(text_chars(&whole));
    text_destroy(&word);
    text_destroy(&whole);
    return found;
}

cl_int program_compose(const struct program_recipe *recipe, const struct problem *p,
                       const struct variant *v, struct text *composed, struct text *options,
                       struct text *map, struct status *status) {
    struct variant taken;
    if (recipe->takes) {
        taken = variant_take(v, recipe->kernel, recipe->takes);
        v = &taken;
    }
    compose_options(recipe, v, options);
    compose_parameters(recipe, p, v, text_chars(options), composed);
    size_t line = count_lines(text_chars(composed)) + 1;
    text_printf(map, "lines 1-%zu: parameters\n", line - 1);
    assert(!recipe->parts[PROGRAM_PARTS - 1]); /* the NULL behind the last one */
    for (size_t i = 0; recipe->parts[i]; i++) {
        const struct source *source = find_part(recipe->parts[i], v);
        if (!source) {
            return status_set(status, CLATTN_INTERNAL, "program: no source named %s",
                              recipe->parts[i]);
        }
        size_t lines = count_lines(source->text);
        text_append(composed, source->text, source->length);
        text_printf(map, "lines %zu-%zu: %s\n", line, line + lines - 1, source->name);
        line += lines;
    }
    if (composed->failed || options->failed || map->failed) {
        return status_set(status, CL_OUT_OF_HOST_MEMORY, "program: no memory for its text");
    }
    return CL_SUCCESS;
}

struct build {
    const struct program_recipe *recipe;
    const char *map;
    cl_context context;
    cl_device_id id;
    struct text *remarks;
};

/* Writes a text to $CLATTN_DUMP/<kernel>-<hash of composed>.<kind>.  For people: a failure is
 * worth a remark, no more. */
static void dump(const struct build *build, const char *composed, const char *kind,
                 const char *chars) {
    const char *directory = getenv("CLATTN_DUMP");
    if (!directory || !*directory) {
        return;
    }
    struct text path = {0};
    text_printf(&path, "%s/%s-%016llx.%s", directory, build->recipe->kernel,
                (unsigned long long)cache_hash(composed), kind);
    errno = 0;
    FILE *file = path.failed ? NULL : fopen(text_chars(&path), "wb");
    const bool written = file && fputs(chars, file) >= 0;
    if ((file && fclose(file) != 0) || !written) {
        text_printf(build->remarks, "CLATTN_DUMP: %s cannot be written: %s\n", text_chars(&path),
                    errno ? strerror(errno) : "no memory");
    }
    text_destroy(&path);
}

static void append_build_log(cl_program program, cl_device_id id, struct text *out) {
    size_t size = 0;
    if (clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) != CL_SUCCESS ||
        size == 0) {
        return;
    }
    char *log = calloc(1, size + 1);
    if (log &&
        clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, size, log, NULL) == CL_SUCCESS) {
        text_printf(out, "%s\n", log);
    }
    free(log);
}

/* Builds what was created.  A failure's message carries the log; the program is released. */
static cl_int build_created(const struct build *build, cl_program created, const char *options,
                            struct status *status) {
    const cl_int code = clBuildProgram(created, 1, &build->id, options, NULL, NULL);
    if (code != CL_SUCCESS) {
        status_set(status, code, "program: %s does not build\n", build->recipe->kernel);
        append_build_log(created, build->id, &status->sentence);
        text_printf(&status->sentence, "%s", build->map);
        clReleaseProgram(created);
    }
    return code;
}

enum { MOST_DEVICES = 64 }; /* of a context whose programs go through ptx.h */

/* The place of the device among those of the program's context, and how many they are. */
static cl_int find_device(cl_program program, cl_device_id id, size_t *at, size_t *count) {
    cl_device_id ids[MOST_DEVICES];
    size_t size = 0;
    const cl_int code = clGetProgramInfo(program, CL_PROGRAM_DEVICES, sizeof ids, ids, &size);
    if (code != CL_SUCCESS) {
        return code;
    }
    *count = size / sizeof *ids;
    for (*at = 0; *at < *count && ids[*at] != id;) {
        ++*at;
    }
    return *at < *count ? CL_SUCCESS : CL_INVALID_DEVICE;
}

/* Appends the binary that the driver has made for the device; the others' are not asked for. */
static cl_int append_binary(const struct build *build, cl_program program, struct text *out,
                            struct status *status) {
    size_t sizes[MOST_DEVICES] = {0}, at = 0, count = 0;
    char *binary = NULL, *binaries[MOST_DEVICES] = {NULL};
    cl_int code = find_device(program, build->id, &at, &count);
    if (code == CL_SUCCESS) {
        code =
            clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, count * sizeof *sizes, sizes, NULL);
    }
    if (code == CL_SUCCESS && !(binary = calloc(1, sizes[at] + 1))) {
        code = CL_OUT_OF_HOST_MEMORY;
    }
    if (code == CL_SUCCESS) {
        binaries[at] = binary;
        code = clGetProgramInfo(program, CL_PROGRAM_BINARIES, count * sizeof *binaries, binaries,
                                NULL);
    }
    if (code == CL_SUCCESS) {
        text_append(out, binary, sizes[at]);
    }
    free(binary);
    return code == CL_SUCCESS
               ? code
               : status_set(status, code, "program: the driver hands out no PTX of %s",
                            build->recipe->kernel);
}

/* Replaces a built program by one for the chip that runs it (ptx.h). */
static cl_int build_for_chip(const struct build *build, const char *composed, const char *options,
                             cl_program *program, struct status *status) {
    struct text made = {0}, changed = {0};
    cl_int code = append_binary(build, *program, &made, status);
    clReleaseProgram(*program);
    *program = NULL;
    if (code == CL_SUCCESS) {
        code = ptx_for_sm_90a(text_chars(&made), made.length, &changed, status);
    }
    if (code == CL_SUCCESS) {
        dump(build, composed, "ptx", text_chars(&changed));
        const unsigned char *chars = (const unsigned char *)text_chars(&changed);
        cl_program created = clCreateProgramWithBinary(build->context, 1, &build->id,
                                                       &changed.length, &chars, NULL, &code);
        if (code != CL_SUCCESS) {
            status_set(status, code, "program: the driver refuses the PTX of %s",
                       build->recipe->kernel);
        } else if ((code = build_created(build, created, options, status)) == CL_SUCCESS) {
            *program = created;
        }
    }
    text_destroy(&made);
    text_destroy(&changed);
    return code;
}

static cl_int build_program(void *data, const char *composed, const char *options,
                            cl_program *program, struct status *status) {
    const struct build *build = data;
    dump(build, composed, "cl", composed);
    cl_int code;
    cl_program built = clCreateProgramWithSource(build->context, 1, &composed, NULL, &code);
    if (code != CL_SUCCESS) {
        return status_set(status, code, "program: the driver refuses the source of %s",
                          build->recipe->kernel);
    }
    code = build_created(build, built, options, status);
    if (code == CL_SUCCESS && build->recipe->sm_90a) {
        code = build_for_chip(build, composed, options, &built, status);
    }
    if (code == CL_SUCCESS) {
        *program = built;
    }
    return code;
}

cl_int program_get(const struct program_recipe *recipe, const struct problem *p,
                   const struct variant *v, struct cache *c, cl_context context, cl_device_id id,
                   cl_program *program, struct text *remarks, struct status *status) {
    struct text options = {0}, composed = {0}, map = {0};
    *program = NULL;
    cl_int code = program_compose(recipe, p, v, &composed, &options, &map, status);
    if (code == CL_SUCCESS) {
        struct build build = {recipe, text_chars(&map), context, id, remarks};
        const struct cache_builder builder = {build_program, &build};
        code = cache_get(c, text_chars(&composed), text_chars(&options), &builder, program, status);
    }
    text_destroy(&options);
    text_destroy(&composed);
    text_destroy(&map);
    return code;
}
