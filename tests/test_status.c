/* Every status has its name: ours, and each of OpenCL 3.0.  The version is the header's. */
#include "clattn.h"

#include <limits.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void every_status_has_its_name(void **state) {
    (void)state;
    static const struct {
        cl_int code;
        const char *name;
    } names[] = {
#define NAME(code) {code, #code}
        NAME(CLATTN_INVALID_DESC),
        NAME(CLATTN_INVALID_ARGS),
        NAME(CLATTN_INVALID_TENSOR),
        NAME(CLATTN_OUT_OF_BOUNDS),
        NAME(CLATTN_OVERLAP),
        NAME(CLATTN_INVALID_WORKSPACE),
        NAME(CLATTN_INVALID_VARIANT),
        NAME(CLATTN_INVALID_TUNING),
        NAME(CLATTN_INVALID_TEXT),
        NAME(CLATTN_UNSUPPORTED),
        NAME(CLATTN_INTERNAL),
        NAME(CL_SUCCESS),
        NAME(CL_DEVICE_NOT_FOUND),
        NAME(CL_DEVICE_NOT_AVAILABLE),
        NAME(CL_COMPILER_NOT_AVAILABLE),
        NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE),
        NAME(CL_OUT_OF_RESOURCES),
        NAME(CL_OUT_OF_HOST_MEMORY),
        NAME(CL_PROFILING_INFO_NOT_AVAILABLE),
        NAME(CL_MEM_COPY_OVERLAP),
        NAME(CL_IMAGE_FORMAT_MISMATCH),
        NAME(CL_IMAGE_FORMAT_NOT_SUPPORTED),
        NAME(CL_BUILD_PROGRAM_FAILURE),
        NAME(CL_MAP_FAILURE),
        NAME(CL_MISALIGNED_SUB_BUFFER_OFFSET),
        NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST),
        NAME(CL_COMPILE_PROGRAM_FAILURE),
        NAME(CL_LINKER_NOT_AVAILABLE),
        NAME(CL_LINK_PROGRAM_FAILURE),
        NAME(CL_DEVICE_PARTITION_FAILED),
        NAME(CL_KERNEL_ARG_INFO_NOT_AVAILABLE),
        NAME(CL_INVALID_VALUE),
        NAME(CL_INVALID_DEVICE_TYPE),
        NAME(CL_INVALID_PLATFORM),
        NAME(CL_INVALID_DEVICE),
        NAME(CL_INVALID_CONTEXT),
        NAME(CL_INVALID_QUEUE_PROPERTIES),
        NAME(CL_INVALID_COMMAND_QUEUE),
        NAME(CL_INVALID_HOST_PTR),
        NAME(CL_INVALID_MEM_OBJECT),
        NAME(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR),
        NAME(CL_INVALID_IMAGE_SIZE),
        NAME(CL_INVALID_SAMPLER),
        NAME(CL_INVALID_BINARY),
        NAME(CL_INVALID_BUILD_OPTIONS),
        NAME(CL_INVALID_PROGRAM),
        NAME(CL_INVALID_PROGRAM_EXECUTABLE),
        NAME(CL_INVALID_KERNEL_NAME),
        NAME(CL_INVALID_KERNEL_DEFINITION),
        NAME(CL_INVALID_KERNEL),
        NAME(CL_INVALID_ARG_INDEX),
        NAME(CL_INVALID_ARG_VALUE),
        NAME(CL_INVALID_ARG_SIZE),
        NAME(CL_INVALID_KERNEL_ARGS),
        NAME(CL_INVALID_WORK_DIMENSION),
        NAME(CL_INVALID_WORK_GROUP_SIZE),
        NAME(CL_INVALID_WORK_ITEM_SIZE),
        NAME(CL_INVALID_GLOBAL_OFFSET),
        NAME(CL_INVALID_EVENT_WAIT_LIST),
        NAME(CL_INVALID_EVENT),
        NAME(CL_INVALID_OPERATION),
        NAME(CL_INVALID_GL_OBJECT),
        NAME(CL_INVALID_BUFFER_SIZE),
        NAME(CL_INVALID_MIP_LEVEL),
        NAME(CL_INVALID_GLOBAL_WORK_SIZE),
        NAME(CL_INVALID_PROPERTY),
        NAME(CL_INVALID_IMAGE_DESCRIPTOR),
        NAME(CL_INVALID_COMPILER_OPTIONS),
        NAME(CL_INVALID_LINKER_OPTIONS),
        NAME(CL_INVALID_DEVICE_PARTITION_COUNT),
        NAME(CL_INVALID_PIPE_SIZE),
        NAME(CL_INVALID_DEVICE_QUEUE),
        NAME(CL_INVALID_SPEC_ID),
        NAME(CL_MAX_SIZE_RESTRICTION_EXCEEDED)
#undef NAME
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_string_equal(clattn_status_name(names[i].code), names[i].name);
    }
    const cl_int others[] = {1, -21, -9000, -9012, -32768, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_string_equal(clattn_status_name(others[i]), "unknown status");
    }
}

static void the_library_is_the_headers(void **state) {
    (void)state;
    assert_int_equal(clattn_version(), CLATTN_VERSION);
    assert_int_equal(clattn_version() / 10000, CLATTN_VERSION_MAJOR);
    assert_int_equal(clattn_version() / 100 % 100, CLATTN_VERSION_MINOR);
    assert_int_equal(clattn_version() % 100, CLATTN_VERSION_PATCH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_name),
        cmocka_unit_test(the_library_is_the_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
