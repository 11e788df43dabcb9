/*
 * clattn-info - platforms, devices, the facts that clattn uses, and for a problem
 * the variant that would run on each device, with the reasons.
 *
 * All is gathered into one JSON value first (inventory.h); --json prints that,
 * otherwise it is printed as text.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <clattn.h>
#include <jansson.h>
#include <popt.h>
#include "inventory.h"
#include "outcome.h"
#include "problem_words.h"
#include "select.h"

struct job {
    char *problem, *device, *tuning; /* owned; may be NULL */
    bool json;
    clattn_desc desc;
};

static int fail(int outcome, const char *format, ...) {
    va_list values;
    fputs("clattn-info: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs("\n", stderr);
    return outcome;
}

/* ---- Printing ----------------------------------------------------------- */

static const char *get(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static void print_error(const json_t *object, int indent) {
    const json_t *error = json_object_get(object, "error");
    if (error) {
        printf("%*serror: %s: %s\n", indent, "", get(error, "status"), get(error, "message"));
    }
}

static void print_device(json_t *device) {
    size_t index;
    const char *name;
    json_t *value, *plan = json_object_get(device, "plan");
    printf("  device %d: %s (%s; driver %s)\n",
           (int)json_integer_value(json_object_get(device, "number")), get(device, "name"),
           get(device, "version"), get(device, "driver"));
    print_error(device, 4);
    json_object_foreach(json_object_get(device, "facts"), name, value) {
        const char *fact = json_string_value(value);
        printf("    %-*s%s\n", *fact ? 23 : 0, name, fact);
    }
    if (json_object_get(device, "tuning_name")) {
        printf("    %-23s%s\n", "tuning_name", get(device, "tuning_name"));
    }
    if (plan) {
        printf("    plan\n");
        print_error(plan, 6);
        json_array_foreach(json_object_get(plan, "description"), index, value) {
            printf("      %s\n", json_string_value(value));
        }
    }
}

static void print_text(const json_t *platforms) {
    size_t index, at;
    json_t *platform, *device;
    json_array_foreach(platforms, index, platform) {
        printf("platform %zu: %s (%s; %s)\n", index, get(platform, "name"),
               get(platform, "version"), get(platform, "vendor"));
        print_error(platform, 2);
        json_array_foreach(json_object_get(platform, "devices"), at, device) {
            print_device(device);
        }
    }
}

/* ---- The job ------------------------------------------------------------ */

static const char *const about =
    "\n"
    "Without PROBLEM: the OpenCL platforms and devices, and what clattn knows of each device.\n"
    "With PROBLEM: also which variant (solver and parameters) would run it, and why no other.\n"
    "PROBLEM is words as in \"f16 b2 h32:8 q4096 k4096 d128 causal\":\n"
    "  f32 | f16 | bf16   type                    causal       no key after a query's own\n"
    "  kT, vT, oT, dT     of k, v, o, gradients   softcapX     s becomes X tanh(s/X)\n"
    "  bN                 batch                   windowL,R    keys before and after; -1: all\n"
    "  hN or hQ:KV        heads                   end | start  where queries meet keys\n"
    "  qN, kN             lengths; q is required  aligned      q k v o at multiples of 16 bytes\n"
    "  dN or dQK:V        dimensions; required    alibi        ALiBi: s minus slope * distance\n"
    "  bwd                the backward pass; fwd, forward, is the default\n"
    "\n"
    "Exit code: 0 done, even if some driver failed; 2 wrong usage; 3 no device supports\n"
    "PROBLEM; 4 no such device; 5 every device failed.\n";

enum { OPTION_DEVICE = 1, OPTION_TUNING, OPTION_JSON, OPTION_VERSION, OPTION_HELP };

static const struct poptOption options[] = {
    {"device", 0, POPT_ARG_STRING, NULL, OPTION_DEVICE,
     "only these: a number, or part of \"platform / device\"", "N|NAME"},
    {"tuning", 0, POPT_ARG_STRING, NULL, OPTION_TUNING,
     "variants to prefer: a file of lines \"DEVICE ; PROBLEM ; VARIANT\"; '': no file at all",
     "FILE"},
    {"json", 0, POPT_ARG_NONE, NULL, OPTION_JSON, "print JSON", NULL},
    {"version", 0, POPT_ARG_NONE, NULL, OPTION_VERSION, "print the version", NULL},
    {"help", 'h', POPT_ARG_NONE, NULL, OPTION_HELP, "print this", NULL},
    POPT_TABLEEND,
};

/* The words of a problem may come as one argument or as many. */
static bool add_words(char **problem, const char *words) {
    size_t size = (*problem ? strlen(*problem) : 0) + strlen(words) + 2;
    char *joined = malloc(size);
    if (joined) {
        snprintf(joined, size, "%s%s%s", *problem ? *problem : "", *problem ? " " : "", words);
    }
    free(*problem);
    *problem = joined;
    return joined != NULL;
}

/* Returns an exit code, or -1 to go on. */
static int parse_options(struct job *j, poptContext context) {
    int option;
    while ((option = poptGetNextOpt(context)) > 0) {
        switch (option) {
        case OPTION_DEVICE:
            free(j->device);
            j->device = poptGetOptArg(context);
            break;
        case OPTION_TUNING:
            free(j->tuning);
            j->tuning = poptGetOptArg(context);
            break;
        case OPTION_JSON:
            j->json = true;
            break;
        case OPTION_VERSION:
            printf("clattn-info %d.%d.%d\n", CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
                   CLATTN_VERSION_PATCH);
            return fflush(stdout) == 0 ? OUTCOME_DONE : OUTCOME_FAILED;
        default:
            poptPrintHelp(context, stdout, 0);
            fputs(about, stdout);
            return fflush(stdout) == 0 ? OUTCOME_DONE : OUTCOME_FAILED;
        }
    }
    if (option < -1) {
        return fail(OUTCOME_USAGE, "%s: %s; see --help",
                    poptBadOption(context, POPT_BADOPTION_NOALIAS), poptStrerror(option));
    }
    if (j->device && j->device[0] == '\0') {
        return fail(OUTCOME_USAGE,
                    "--device: '' is not the number of a device or a part of its name; see --help");
    }
    for (const char *words; (words = poptGetArg(context)) != NULL;) {
        if (!add_words(&j->problem, words)) {
            return fail(OUTCOME_FAILED, "out of memory");
        }
    }
    if (j->problem && clattn_desc_parse(j->problem, &j->desc) != CL_SUCCESS) {
        char *wrong = problem_words_wrong(j->problem);
        fail(OUTCOME_USAGE, "'%s' is not a problem: %s; see --help", j->problem,
             wrong ? wrong : "out of memory");
        free(wrong);
        return OUTCOME_USAGE;
    }
    return -1;
}

static int conclude(const struct job *j, const struct inventory *inv,
                    const struct select_list *list) {
    if (list->platform_count == 0) {
        return fail(OUTCOME_NO_DEVICE, "there is no OpenCL platform");
    }
    if (inv->matched == 0) {
        return j->device ? fail(OUTCOME_NO_DEVICE, "no OpenCL device is '%s'", j->device)
                         : fail(OUTCOME_NO_DEVICE, "there is no OpenCL device");
    }
    if (inv->described == 0) {
        return fail(OUTCOME_FAILED, "every device failed");
    }
    if (j->problem && inv->planned == 0) {
        return inv->refused ? fail(OUTCOME_UNSUPPORTED, "no device supports '%s'", j->problem)
                            : fail(OUTCOME_FAILED, "no device could make a plan");
    }
    return OUTCOME_DONE;
}

static int inform(struct job *j) {
    struct select_list list;
    cl_int status = select_all(&list);
    if (status != CL_SUCCESS) {
        select_destroy(&list);
        return fail(OUTCOME_FAILED, "the OpenCL platforms cannot be listed: %s",
                    clattn_status_name(status));
    }
    struct inventory inv = {.program = "clattn-info",
                            .device = j->device,
                            .tuning = j->tuning,
                            .desc = j->problem ? &j->desc : NULL};
    bool enough = inventory_take(&inv, &list);
    if (inv.wrong) {
        fail(OUTCOME_USAGE, "%s", inv.wrong);
        free(inv.wrong);
        json_decref(inv.platforms);
        select_destroy(&list);
        return OUTCOME_USAGE;
    }
    if (j->json) {
        json_t *version = json_sprintf("%d.%d.%d", CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
                                       CLATTN_VERSION_PATCH);
        json_t *all = json_pack("{s:o, s:O}", "clattn", version, "platforms", inv.platforms);
        enough = enough && json_dumpf(all, stdout, JSON_INDENT(2)) == 0;
        putchar('\n');
        json_decref(all);
    } else {
        print_text(inv.platforms);
    }
    json_decref(inv.platforms);
    bool printed = fflush(stdout) == 0;
    int outcome = conclude(j, &inv, &list);
    select_destroy(&list);
    return enough && printed ? outcome : fail(OUTCOME_FAILED, "the answer cannot be written");
}

int main(int argc, char **argv) {
    struct job j = {.desc = CLATTN_DESC_INIT};
    poptContext context = poptGetContext("clattn-info", argc, (const char **)argv, options, 0);
    if (!context) {
        return fail(OUTCOME_FAILED, "out of memory");
    }
    poptSetOtherOptionHelp(context, "[OPTION...] [PROBLEM]");
    int outcome = parse_options(&j, context);
    if (outcome < 0) {
        outcome = inform(&j);
    }
    free(j.problem);
    free(j.device);
    free(j.tuning);
    poptFreeContext(context);
    return outcome;
}
