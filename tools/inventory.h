/*
 * inventory - platforms, devices, clattn's facts of them and plans, as one JSON value.
 *
 *     [{"name", "vendor", "version", "error"?, "devices":
 *         [{"number", "name", "version", "driver", "error"?, "facts"?: {"name": "value"},
 *           "plan"?: {"variant", "description": ["line"], "error"?}}]}]
 *
 * A driver that fails is an "error": {"status", "message"} in its place.  Numbers among
 * the facts are strings too: which of them are numbers is the device's choice.
 */
#ifndef INVENTORY_H
#define INVENTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <clattn.h>
#include <jansson.h>
#include "select.h"

struct inventory {
    const char *program;     /* before remarks on stderr */
    const char *device;      /* which devices (select_matches); NULL: all */
    const char *tuning;      /* a file of variants; may be NULL */
    const clattn_desc *desc; /* NULL: no plans */

    json_t *platforms;                  /* to be released by json_decref */
    size_t matched, described, planned; /* devices: asked for, facts read, would run desc */
    bool refused;                       /* one that did not fail would not run desc */
    char *wrong;                        /* NULL, or what the caller has to correct; to be freed */
};

/* Fills in the second half.  False when out of memory. */
bool inventory_take(struct inventory *inv, const struct select_list *list);

#endif
