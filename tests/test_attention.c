/* Attention as every solver computes it, against the reference: the table of cases.c. */
#include "suite.h"

int main(int argc, char **argv) {
    const struct suite_subject subject = {
        "test_attention", cases_table, cases_count, NULL, 0, NULL};
    return suite_main(argc, argv, &subject);
}
