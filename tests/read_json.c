/*
 * read_json KEY...: what lies at that path in the JSON on standard input: a string
 * or an integer as it is, the number of elements of a list or an object, or nothing
 * (exit code 1).  A KEY that is a number indexes a list.  Not JSON: exit code 2.
 */
#include <stdio.h>
#include <stdlib.h>
#include <jansson.h>

int main(int argc, char **argv) {
    json_error_t error;
    json_t *root = json_loadf(stdin, JSON_REJECT_DUPLICATES, &error), *at = root;
    if (!root) {
        fprintf(stderr, "read_json: %s, line %d\n", error.text, error.line);
        return 2;
    }
    for (int i = 1; i < argc && at; i++) {
        at = json_is_array(at) ? json_array_get(at, strtoul(argv[i], NULL, 10))
                               : json_object_get(at, argv[i]);
    }
    if (json_is_string(at)) {
        puts(json_string_value(at));
    } else if (json_is_integer(at)) {
        printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(at));
    } else if (at) {
        printf("%zu\n", json_is_array(at) ? json_array_size(at) : json_object_size(at));
    }
    json_decref(root);
    return at ? 0 : 1;
}
