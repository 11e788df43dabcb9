/*
 * The compilers of devices that are not there: has a target's programs composed, and
 * judges what its compilers made of them.  check_offline.sh runs the compilers between.
 *
 *     check_offline compose TARGET    programs go to CLATTN_DUMP
 *     check_offline judge TARGET PROGRAMS FIGURES BUDGET NEW
 *         PROGRAMS: the folder they went to.  FIGURES: the compilers, then a line for each
 *         program, "FILE failed" or "FILE threads 256 registers 128 local 1024 scratch 0
 *         spills 0 matrix 64 among 0": how many matrix instructions, how many moves of spilled
 *         registers among them.  BUDGET: what was reviewed.  NEW gets what takes its place.
 *
 * Asserted of each program: it compiles; where its variant has an engine, matrix instructions
 * are in the machine code; its local memory fits the device; registers, local memory, scratch,
 * spills and their moves among matrix instructions stay within the budget, where each spill is
 * there to be seen.  Of the variants that the library chooses: that they are among these programs,
 * that a matrix engine is used where there is one, that fwd_mma spills nothing (on NVIDIA bwd_mma,
 * too) and, on NVIDIA, how many warps are resident.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compose.h"
#include "engines.h"
#include "fixtures.h"
#include "choose.h"

enum { PROGRAMS = 200, LINE = 512 };

/* Registers are handed out in eights, or in multiples of that: below, nothing is lost. */
enum { GRANULE = 8 };

static const struct target {
    const char *name;         /* as its compiler calls it */
    const char *fixture;      /* the device */
    const char *architecture; /* instead of the fixture's, where no fixture has them */
    const char *matrix;
    long long registers;    /* of a multiprocessor, of 32 bits; 0: residence is not judged */
    long long local_memory; /* bytes, of a multiprocessor */
    long long warps;        /* resident at once, at most */
    long long least;        /* warps to be resident where only one work-group is */
} targets[] = {
    {"gfx90a", "mi250", NULL, NULL, 0, 0, 0, 0},
    {"gfx942", "mi300x", NULL, NULL, 0, 0, 0, 0},
    {"gfx1100", "rx_7900_xtx", NULL, NULL, 0, 0, 0, 0},
    {"gfx1201", "rx_9070_xt", NULL, NULL, 0, 0, 0, 0},
    {"sm_80", "a100", NULL, NULL, 65536, 164 << 10, 64, 8},
    {"sm_86", "rtx_4090", "nvidia/8.6", "nv80", 65536, 100 << 10, 48, 4},
    {"sm_90", "h200", NULL, NULL, 65536, 228 << 10, 64, 8},
    {"dg2", "arc_a770", NULL, NULL, 0, 0, 0, 0},
    {"pvc", "gpu_max_1550", NULL, NULL, 0, 0, 0, 0},
};

/* Every third one is composed for baselines, too: fwd_tile in two passes takes long to compile. */
static const char *const problems[] = {
    "f32 h32 q4096 d64",
    "f32 h16 q4096 d128 causal",
    "f16 h16 q4096 d64",
    "f16 h16 q4096 d64 causal",
    "f16 h16 q4096 d128",
    "f16 h16 q4096 d128 causal",
    "f16 h8 q4096 d256",
    "f16 h8 q4096 d256 causal",
    "bf16 h16 q4096 d128 causal",
    "bf16 h8 q20 k4096 d192 window128,0",
    "f32 q100 k300 d33:65 causal softcap30",
    "f16 h8:2 q300 d80:256 softcap50",
    "f16 h16 q4096 d64 causal bwd",
    "f16 h16 q4096 d128 bwd",
    "bf16 h16 q4096 d128 causal bwd",
    "f16 h8 q4096 d256 causal bwd",
    "bf16 h8:2 q300 d80:48 softcap50 bwd",
    "f32 h4:2 q100 k300 d33:65 softcap30 bwd",
};

static const struct target *find_target(const char *name) {
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        if (strcmp(targets[i].name, name) == 0) {
            return &targets[i];
        }
    }
    fprintf(stderr, "check_offline.c has no target %s\n", name);
    exit(2);
}

static struct device read_device(const struct target *target) {
    fixtures_open(NULL);
    struct device d = fixtures_find(target->fixture)->device;
    fixtures_close(NULL);
    if (target->architecture) {
        snprintf(d.architecture, sizeof d.architecture, "%s", target->architecture);
        snprintf(d.matrix, sizeof d.matrix, "%s", target->matrix);
        snprintf(d.name, sizeof d.name, "%s", target->name);
    }
    return d;
}

static int compose(const struct target *target) {
    const struct device d = read_device(target);
    unsigned composed = 0;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        const struct problem p = fixtures_problem(problems[i]);
        compose_all(&p, &d, i % 3 == 0 ? COMPOSE_SUITED : COMPOSE_PRODUCTION, &composed, NULL);
    }
    printf("%s: %u programs composed\n", target->name, composed);
    return composed == 0;
}

/* ---- What the compilers made of a program ---- */

struct program {
    char name[LINE]; /* "f16 d128 masked ; VARIANT ; KERNEL" */
    bool failed;
    long long threads, registers, local, scratch, spills, matrix, among;
};

static struct program programs[PROGRAMS];
static size_t programs_count;
static char compilers[LINE]; /* "# clang 22.1.8, ptxas 13.0.88" */
static bool other_compilers; /* than the budget's */
static int complaints;

#define COMPLAIN(...) (complaints++, printf(__VA_ARGS__))

static FILE *open_file(const char *path, const char *mode) {
    FILE *file = fopen(path, mode);
    if (!file) {
        perror(path);
        exit(2);
    }
    return file;
}

/* Without the newline; false at the end. */
static bool read_line(FILE *file, char line[LINE]) {
    if (!fgets(line, LINE, file)) {
        return false;
    }
    if (!strchr(line, '\n') && !feof(file)) {
        fprintf(stderr, "a line is too long: %s\n", line);
        exit(2);
    }
    line[strcspn(line, "\n")] = 0;
    return true;
}

/* A program is compiled for less than a problem: the lengths are not in it.  "f16 d80:256
 * masked softcap ; VARIANT ; ". */
static void name_program(struct text *name, const struct problem *types, int head_dim,
                         int head_dim_v, bool masked, bool softcap, const char *variant_text) {
    problem_format_types(types, name);
    text_printf(name, " d%d", head_dim);
    if (head_dim_v != head_dim) {
        text_printf(name, ":%d", head_dim_v);
    }
    text_printf(name, "%s%s ; %s ; ", masked ? " masked" : "", softcap ? " softcap" : "",
                variant_text);
}

/* The first line of a program's text is a comment, its variant; after another one come the
 * parameters.  Its kernel is its file's name before the hash. */
static void read_name(struct program *p, const char *folder, const char *file_name) {
    enum { Q, K, V, O, HEAD_DIM, HEAD_DIM_V, MASKED, SOFTCAP, PASS, WORDS };
    static const char *const words[WORDS] = {"TYPE_Q", "TYPE_K",   "TYPE_V",
                                             "TYPE_O", "HEAD_DIM", "HEAD_DIM_V",
                                             "MASKED", "SOFTCAP",  "PASS"};
    int values[WORDS] = {0};
    char first[LINE], line[LINE], word[LINE];
    struct text name = {0};
    text_printf(&name, "%s/%s", folder, file_name);
    FILE *file = open_file(text_chars(&name), "rb");
    text_destroy(&name);
    read_line(file, first);
    char *end = strstr(first, " */");
    if (strncmp(first, "/* ", 3) != 0 || !end) {
        fprintf(stderr, "%s does not begin with its variant: %s\n", file_name, first);
        exit(2);
    }
    *end = 0;
    while (read_line(file, line) && (*line == '#' || *line == '/')) {
        int value;
        if (sscanf(line, "#define %511s %d", word, &value) != 2) {
            continue;
        }
        for (size_t i = 0; i < WORDS; i++) {
            if (strcmp(word, words[i]) == 0) {
                values[i] = value;
            }
        }
    }
    fclose(file);
    /* Not each kernel has each tensor, and standard_softmax has none of them. */
    struct problem types = {.type_k = (clattn_type)values[K],
                            .type_v = (clattn_type)values[V],
                            .type_o = (clattn_type)values[O]};
    types.type = values[Q] ? (clattn_type)values[Q] : values[V] ? types.type_v : CLATTN_F32;
    problem_fill_types(&types);
    name_program(&name, &types, values[HEAD_DIM], values[HEAD_DIM_V], values[MASKED],
                 values[SOFTCAP], first + 3);
    text_printf(&name, "%.*s", (int)strcspn(file_name, "-"), file_name);
    if (values[PASS]) {
        text_printf(&name, " PASS=%d", values[PASS]);
    }
    snprintf(p->name, sizeof p->name, "%s", text_chars(&name));
    text_destroy(&name);
}

static void read_figures(const char *path, const char *folder) {
    FILE *file = open_file(path, "r");
    char line[LINE], name[LINE];
    if (!read_line(file, compilers) || *compilers != '#') {
        fprintf(stderr, "%s does not begin with the compilers\n", path);
        exit(2);
    }
    while (read_line(file, line)) {
        struct program *p = &programs[programs_count++];
        if (programs_count == PROGRAMS || sscanf(line, "%511s", name) != 1) {
            fprintf(stderr, "%s: too many programs, or no name\n", path);
            exit(2);
        }
        const char *const figures = line + strlen(name);
        read_name(p, folder, name);
        p->failed = sscanf(figures,
                           " threads %lld registers %lld local %lld scratch %lld spills %lld "
                           "matrix %lld among %lld",
                           &p->threads, &p->registers, &p->local, &p->scratch, &p->spills,
                           &p->matrix, &p->among) != 7;
        if (p->failed && strcmp(figures, " failed") != 0) {
            fprintf(stderr, "%s: no figures: %s\n", path, line);
            exit(2);
        }
    }
    fclose(file);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct program *)a)->name, ((const struct program *)b)->name);
}

static void judge_figure(const char *name, const char *what, long long now, long long budget) {
    if (now > budget) {
        printf("%s\n    %s %lld, over its budget of %lld\n", name, what, now, budget);
        complaints += !other_compilers;
    }
}

/* ---- What holds whatever was reviewed ---- */

/* Is it the main loop of a variant with a matrix engine? */
static bool has_engine(const struct program *p) {
    char solver[LINE], kernel[LINE];
    if (sscanf(p->name, "%*[^;] ; %511s %*[^;] ; %511s", solver, kernel) != 2 ||
        strcmp(solver, kernel) != 0) {
        return false;
    }
    const char *word = strstr(p->name, " ENGINE=");
    word = word ? word + strlen(" ENGINE=") : "";
    const struct engine *engine = engines_find(word, strcspn(word, " "));
    return (engine && engine->architectures) || strcmp(solver, "fwd_wgmma") == 0;
}

static void judge_program(const struct program *p, const struct device *d) {
    if (p->failed) {
        COMPLAIN("%s\n    does not compile; see above\n", p->name);
        return;
    }
    if ((cl_ulong)p->local > d->local_memory) {
        COMPLAIN("%s\n    %lld bytes of local memory; the device has %llu\n", p->name, p->local,
                 (unsigned long long)d->local_memory);
    }
    if (has_engine(p) && p->matrix == 0) {
        COMPLAIN("%s\n    its machine code has no matrix instruction\n", p->name);
    }
}

static long long round_up(long long n, long long multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/* Compute capability 8.0 to 9.0: a warp gets its registers in units of 256, and 1 KiB of
 * local memory is the system's for each work-group.  Enough to hide the time of memory and
 * matrix instructions: two work-groups, or, in one, two warps for each of the four schedulers.
 * Where the multiprocessor has little more local memory than a work-group may have (8.6), one
 * for each. */
static void judge_residence(const struct program *p, const struct target *t) {
    enum { WARP = 32, UNIT = 256, SYSTEM = 1024, GROUPS = 32 };
    const long long warps = round_up(p->threads, WARP) / WARP;
    const long long most[] = {
        t->registers / (warps * round_up(p->registers * WARP, UNIT)),
        t->local_memory / (p->local + SYSTEM),
        t->warps / warps,
        GROUPS,
    };
    long long groups = most[0];
    for (size_t i = 1; i < sizeof most / sizeof *most; i++) {
        groups = most[i] < groups ? most[i] : groups;
    }
    printf("%s\n    %lld work-groups of %lld warps are resident\n", p->name, groups, warps);
    if (groups < 2 && groups * warps < t->least) {
        COMPLAIN("    too few: neither two work-groups nor %lld warps\n", t->least);
    }
}

/* The programs of a stage of the chosen variant: how many there are, and are they an engine's? */
static size_t judge_stage(const struct target *target, const struct problem *p,
                          const struct variant *v, const struct stage *stage, bool *engine) {
    const struct program_recipe *recipe = &stage->recipe;
    const struct variant taken =
        recipe->takes ? variant_take(v, recipe->kernel, recipe->takes) : *v;
    struct text name = {0}, variant_text = {0};
    size_t found = 0;
    variant_format(&taken, &variant_text);
    name_program(&name, p, (int)p->head_dim, (int)p->head_dim_v, problem_masked(p), p->softcap != 0,
                 text_chars(&variant_text));
    text_printf(&name, "%s", recipe->kernel);
    if (recipe->pass && strcmp(recipe->pass, "0") != 0) {
        text_printf(&name, " PASS=%s", recipe->pass);
    }
    for (size_t n = 0; n < programs_count; n++) {
        const struct program *program = &programs[n];
        if (strcmp(program->name, text_chars(&name)) != 0) {
            continue;
        }
        found++;
        *engine = *engine || has_engine(program);
        if (target->registers && !program->failed) {
            judge_residence(program, target);
        }
        if (strcmp(v->solver, "fwd_mma") == 0 ||
            (strcmp(v->solver, "bwd_mma") == 0 && target->registers)) {
            judge_figure(program->name, "spills", program->spills, 0);
            judge_figure(program->name, "scratch", program->scratch, 0);
        }
    }
    text_destroy(&name);
    text_destroy(&variant_text);
    return found;
}

/* The variants that the library chooses there are among the programs, and those of 16-bit elements
 * are its matrix engine's. */
static void judge_chosen(const struct target *target, const struct device *d) {
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        const struct problem p = fixtures_problem(problems[i]);
        struct choice c = {0};
        struct status status = {0};
        struct text variant_text = {0};
        struct stage stages[STAGES];
        size_t found = 0;
        bool engine = false;
        const bool for_engine =
            engines_first(d) && p.type != CLATTN_F32 && !problem_mixed(&p) && p.head_dim_v <= 128;
        if (choose_variant(&(struct choose_question){.problem = &p, .device = d}, &c, &status) ==
            CL_SUCCESS) {
            variant_format(&c.variant, &variant_text);
            const size_t count = c.solver->stages(&c.variant, stages);
            for (size_t n = 0; n < count; n++) {
                found += judge_stage(target, &p, &c.variant, &stages[n], &engine);
            }
        }
        if (!found) {
            COMPLAIN("%s: %s\n    is chosen, but was not composed\n", problems[i],
                     text_chars(&variant_text));
        } else if (for_engine && !engine) {
            COMPLAIN("%s: %s\n    is chosen, although the device has the engine %s\n", problems[i],
                     text_chars(&variant_text), d->matrix);
        }
        text_destroy(&variant_text);
        choose_destroy(&c);
        status_destroy(&status);
    }
}

/* ---- The budget ---- */

struct budget {
    char name[LINE];
    long long registers, local, scratch, spills, among;
    bool used;
};

static struct budget budgets[PROGRAMS];
static size_t budgets_count;

static const char budget_form[] =
    " ; registers %lld local %lld scratch %lld spills %lld among %lld";

static void read_budgets(const char *path) {
    FILE *file = fopen(path, "r");
    char line[LINE];
    if (!file) { /* a new target: each program lacks its line */
        return;
    }
    other_compilers = !read_line(file, line) || strcmp(line, compilers) != 0;
    if (other_compilers) {
        printf("note: the budget is of other compilers: its excess is told, but no failure\n"
               "    now   %s\n    then  %s\n",
               compilers, line);
    }
    while (read_line(file, line)) {
        struct budget *b = &budgets[budgets_count++];
        char *figures = strstr(line, " ; registers ");
        if (budgets_count == PROGRAMS || !figures ||
            sscanf(figures, budget_form, &b->registers, &b->local, &b->scratch, &b->spills,
                   &b->among) != 5) {
            fprintf(stderr, "%s: too many lines, or a bad one: %s\n", path, line);
            exit(2);
        }
        *figures = 0;
        strcpy(b->name, line);
    }
    fclose(file);
}

static void judge_budget(const struct program *p) {
    for (size_t i = 0; i < budgets_count; i++) {
        struct budget *b = &budgets[i];
        if (strcmp(b->name, p->name) == 0) {
            b->used = true;
            judge_figure(p->name, "registers", p->registers, round_up(b->registers, GRANULE));
            judge_figure(p->name, "local memory", p->local, b->local);
            judge_figure(p->name, "scratch", p->scratch, b->scratch);
            judge_figure(p->name, "spills", p->spills, b->spills);
            judge_figure(p->name, "spills among matrix instructions", p->among, b->among);
            return;
        }
    }
    COMPLAIN("%s\n    has no budget\n", p->name);
}

/* "fwd_tile" of "f32 d64 ; fwd_tile BLOCK_M=64 ; fwd_tile". */
static void solver_of(const char *name, char solver[LINE]) {
    const char *variant_text = strstr(name, " ; ");
    if (!variant_text || sscanf(variant_text, " ; %511s", solver) != 1) {
        *solver = 0;
    }
}

/* A line whose program is gone.  A build without CLBlast lacks a whole solver: none of
 * its lines is. */
static void judge_rest(void) {
    for (size_t i = 0; i < budgets_count; i++) {
        char solver[LINE], other[LINE];
        bool there = false;
        solver_of(budgets[i].name, solver);
        for (size_t n = 0; n < programs_count; n++) {
            solver_of(programs[n].name, other);
            there = there || strcmp(solver, other) == 0;
        }
        if (there && !budgets[i].used) {
            COMPLAIN("%s\n    is in the budget, but nobody composed it\n", budgets[i].name);
        }
    }
}

static void write_budgets(const char *path) {
    FILE *file = open_file(path, "w");
    fprintf(file, "%s\n", compilers);
    for (size_t i = 0; i < programs_count; i++) {
        const struct program *p = &programs[i];
        if (!p->failed && (i == 0 || strcmp(p->name, programs[i - 1].name) != 0)) {
            fputs(p->name, file);
            fprintf(file, budget_form, p->registers, p->local, p->scratch, p->spills, p->among);
            fputs("\n", file);
        }
    }
    fclose(file);
}

static int judge(const struct target *target, char *const files[4]) {
    const struct device d = read_device(target);
    read_figures(files[1], files[0]);
    qsort(programs, programs_count, sizeof *programs, by_name);
    read_budgets(files[2]);
    judge_chosen(target, &d);
    for (size_t i = 0; i < programs_count; i++) {
        judge_program(&programs[i], &d);
        judge_budget(&programs[i]);
    }
    judge_rest();
    write_budgets(files[3]);
    printf("%s: %zu programs, %d complaints\n", target->name, programs_count, complaints);
    return complaints != 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "compose") == 0) {
        return compose(find_target(argv[2]));
    }
    if (argc == 7 && strcmp(argv[1], "judge") == 0) {
        return judge(find_target(argv[2]), argv + 3);
    }
    fprintf(stderr, "usage: check_offline compose TARGET\n"
                    "       check_offline judge TARGET PROGRAMS FIGURES BUDGET NEW\n");
    return 2;
}
