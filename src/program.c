#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sources.h"

/* Never -cl-fast-relaxed-math or -cl-finite-math-only: they break masking. */
static const char build_options[] = "-cl-std=CL1.2";

static void compose_options(const struct program_recipe *recipe, const row *r, text *options) {
    const char *const more[] = {recipe->options, recipe->row_options ? recipe->row_options(r) : ""};
    text_printf(options, "%s", build_options);
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        if (more[i] && *more[i]) {
            text_printf(options, " %s", more[i]);
        }
    }
}

static void compose_parameters(const struct program_recipe *recipe, const problem *p, const row *r,
                               const char *options, text *composed) {
    /* No lengths: problems that differ in them alone share a program. */
    text_printf(composed, "/* ");
    row_format(r, composed);
    text_printf(composed, " */\n/* options %s */\n", options);
    text_printf(composed, "#define TYPE %u\n", p->type);
    text_printf(composed, "#define HEAD_DIM %u\n", p->head_dim);
    text_printf(composed, "#define HEAD_DIM_V %u\n", p->head_dim_v);
    text_printf(composed, "#define MASKED %d\n", problem_masked(p));
    text_printf(composed, "#define SOFTCAP %d\n", p->softcap != 0);
    text_printf(composed, "%s", recipe->constants);
    for (size_t i = 0; i < r->count; i++) {
        text_printf(composed, "#define %s %s\n", r->parameters[i].name, r->parameters[i].value);
    }
}

static size_t count_lines(const char *chars) {
    size_t lines = 0;
    for (; *chars; chars++) {
        lines += *chars == '\n';
    }
    return lines;
}

/* The source of a part's name, in which <WORD> stands for the row's parameter. */
static const struct source *find_part(const char *name, const row *r) {
    const char *open = strchr(name, '<'), *close = strchr(name, '>');
    if (!open || !close) {
        return sources_find(name);
    }
    text word = {0}, whole = {0};
    text_append(&word, open + 1, (size_t)(close - open - 1));
    const char *value = row_find(r, text_chars(&word));
    text_printf(&whole, "%.*s%s%s", (int)(open - name), name, value ? value : "", close + 1);
    const struct source *found = sources_find(text_chars(&whole));
    text_destroy(&word);
    text_destroy(&whole);
    return found;
}

cl_int program_compose(const struct program_recipe *recipe, const problem *p, const row *r,
                       text *composed, text *options, text *map, struct status *status) {
    compose_options(recipe, r, options);
    compose_parameters(recipe, p, r, text_chars(options), composed);
    size_t line = count_lines(text_chars(composed)) + 1;
    text_printf(map, "lines 1-%zu: parameters\n", line - 1);
    for (size_t i = 0; i < PROGRAM_PARTS && recipe->parts[i]; i++) {
        const struct source *source = find_part(recipe->parts[i], r);
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

/* Writes the text to $CLATTN_DUMP/<kernel>-<hash>.cl.  For people: a failure is no error. */
static void dump(const char *kernel, const char *composed) {
    const char *directory = getenv("CLATTN_DUMP");
    if (!directory || !*directory) {
        return;
    }
    text path = {0};
    text_printf(&path, "%s/%s-%016llx.cl", directory, kernel,
                (unsigned long long)cache_hash(composed));
    FILE *file = path.failed ? NULL : fopen(text_chars(&path), "wb");
    if (file) {
        fputs(composed, file);
        fclose(file);
    }
    text_destroy(&path);
}

static void append_build_log(cl_program program, cl_device_id id, text *out) {
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

struct build {
    const char *kernel;
    const char *map;
    cl_context context;
    cl_device_id id;
};

static cl_int build_program(void *data, const char *composed, const char *options,
                            cl_program *program, struct status *status) {
    const struct build *build = data;
    dump(build->kernel, composed);
    cl_int code;
    cl_program built = clCreateProgramWithSource(build->context, 1, &composed, NULL, &code);
    if (code != CL_SUCCESS) {
        return status_set(status, code, "program: the driver refuses the source of %s",
                          build->kernel);
    }
    code = clBuildProgram(built, 1, &build->id, options, NULL, NULL);
    if (code != CL_SUCCESS) {
        status_set(status, code, "program: %s does not build\n", build->kernel);
        append_build_log(built, build->id, &status->sentence);
        text_printf(&status->sentence, "%s", build->map);
        clReleaseProgram(built);
        return code;
    }
    *program = built;
    return CL_SUCCESS;
}

cl_int program_get(const struct program_recipe *recipe, const problem *p, const row *r, cache *c,
                   cl_context context, cl_device_id id, cl_program *program,
                   struct status *status) {
    text options = {0}, composed = {0}, map = {0};
    *program = NULL;
    cl_int code = program_compose(recipe, p, r, &composed, &options, &map, status);
    if (code == CL_SUCCESS) {
        struct build build = {recipe->kernel, text_chars(&map), context, id};
        code = cache_get(c, text_chars(&composed), text_chars(&options), build_program, &build,
                         program, status);
    }
    text_destroy(&options);
    text_destroy(&composed);
    text_destroy(&map);
    return code;
}
