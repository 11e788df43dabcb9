/*
 * The layer's plain wrappers, for layer.c alone: one for each function, by macros
 * that differ in what the function returns and makes.  They expect enter(),
 * hold(), next and the flags of layer.c.  Functions that clattn has no use for
 * are not here: they pass through uncounted.
 */
#ifndef LAYER_CALLS_H
#define LAYER_CALLS_H

/* A function that returns a status, and nothing that is counted. */
#define CALL(name, flags, params, args)             \
    static cl_int CL_API_CALL layer_##name params { \
        const cl_int status = enter(#name, flags);  \
        return status ? status : next->name args;   \
    }

/* The same, and on success a count of objects changes. */
#define KEEP(name, flags, object, change, params, args) \
    static cl_int CL_API_CALL layer_##name params {     \
        cl_int status = enter(#name, flags);            \
        if (status == CL_SUCCESS) {                     \
            status = next->name args;                   \
        }                                               \
        if (status == CL_SUCCESS) {                     \
            hold(object, change);                       \
        }                                               \
        return status;                                  \
    }

/* A command; its last parameter is `cl_event *event`. */
#define COMMAND(name, flags, params, args) \
    KEEP(name, flags, LAYER_EVENT, event != NULL, params, args)

/* A function that returns an object; its last parameter is `cl_int *error`. */
#define MAKE(type, name, flags, object, params, args) \
    static type CL_API_CALL layer_##name params {     \
        const cl_int status = enter(#name, flags);    \
        type made = NULL;                             \
        if (status == CL_SUCCESS) {                   \
            made = next->name args;                   \
        } else if (error) {                           \
            *error = status;                          \
        }                                             \
        hold(object, made != NULL);                   \
        return made;                                  \
    }

#define INFO(name, type, what)                                                            \
    CALL(name, PLAIN, (type object, what fact, size_t size, void *value, size_t *needed), \
         (object, fact, size, value, needed))

#define RETAIN(name, type, object)                                  \
    KEEP(clRetain##name, PLAIN, object, 1, (type handle), (handle)) \
    KEEP(clRelease##name, RELEASES, object, -1, (type handle), (handle))

#define WAIT_PARAMS cl_uint count, const cl_event *list, cl_event *event

/* Platforms, devices, contexts, queues */
CALL(clGetPlatformIDs, PLAIN, (cl_uint size, cl_platform_id *platforms, cl_uint *count),
     (size, platforms, count))
CALL(clGetDeviceIDs, PLAIN,
     (cl_platform_id platform, cl_device_type type, cl_uint size, cl_device_id *devices,
      cl_uint *count),
     (platform, type, size, devices, count))
INFO(clGetPlatformInfo, cl_platform_id, cl_platform_info)
INFO(clGetContextInfo, cl_context, cl_context_info)
INFO(clGetCommandQueueInfo, cl_command_queue, cl_command_queue_info)
RETAIN(Context, cl_context, LAYER_CONTEXT)
RETAIN(Device, cl_device_id, LAYER_DEVICE)
RETAIN(CommandQueue, cl_command_queue, LAYER_QUEUE)
MAKE(cl_command_queue, clCreateCommandQueue, PLAIN, LAYER_QUEUE,
     (cl_context context, cl_device_id device, cl_command_queue_properties bits, cl_int *error),
     (context, device, bits, error))
MAKE(cl_command_queue, clCreateCommandQueueWithProperties, PLAIN, LAYER_QUEUE,
     (cl_context context, cl_device_id device, const cl_queue_properties *list, cl_int *error),
     (context, device, list, error))
CALL(clFlush, PLAIN, (cl_command_queue queue), (queue))
CALL(clFinish, BLOCKS, (cl_command_queue queue), (queue))

/* Memory */
RETAIN(MemObject, cl_mem, LAYER_MEMORY)
INFO(clGetMemObjectInfo, cl_mem, cl_mem_info)
MAKE(cl_mem, clCreateBuffer, ALLOCATES, LAYER_MEMORY,
     (cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error),
     (context, flags, size, host, error))
MAKE(cl_mem, clCreateBufferWithProperties, ALLOCATES, LAYER_MEMORY,
     (cl_context context, const cl_mem_properties *list, cl_mem_flags flags, size_t size,
      void *host, cl_int *error),
     (context, list, flags, size, host, error))
MAKE(cl_mem, clCreateSubBuffer, PLAIN, LAYER_MEMORY,
     (cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type, const void *region,
      cl_int *error),
     (buffer, flags, type, region, error))
MAKE(cl_mem, clCreateImage, ALLOCATES, LAYER_MEMORY,
     (cl_context context, cl_mem_flags flags, const cl_image_format *format,
      const cl_image_desc *desc, void *host, cl_int *error),
     (context, flags, format, desc, host, error))
MAKE(cl_mem, clCreateImageWithProperties, ALLOCATES, LAYER_MEMORY,
     (cl_context context, const cl_mem_properties *list, cl_mem_flags flags,
      const cl_image_format *format, const cl_image_desc *desc, void *host, cl_int *error),
     (context, list, flags, format, desc, host, error))
MAKE(cl_mem, clCreatePipe, ALLOCATES, LAYER_MEMORY,
     (cl_context context, cl_mem_flags flags, cl_uint packet, cl_uint packets,
      const cl_pipe_properties *list, cl_int *error),
     (context, flags, packet, packets, list, error))

/* Programs and kernels */
RETAIN(Program, cl_program, LAYER_PROGRAM)
RETAIN(Kernel, cl_kernel, LAYER_KERNEL)
INFO(clGetProgramInfo, cl_program, cl_program_info)
INFO(clGetKernelInfo, cl_kernel, cl_kernel_info)
MAKE(cl_program, clCreateProgramWithSource, PLAIN, LAYER_PROGRAM,
     (cl_context context, cl_uint count, const char **texts, const size_t *lengths, cl_int *error),
     (context, count, texts, lengths, error))
MAKE(cl_program, clCreateProgramWithBinary, PLAIN, LAYER_PROGRAM,
     (cl_context context, cl_uint count, const cl_device_id *devices, const size_t *lengths,
      const unsigned char **binaries, cl_int *statuses, cl_int *error),
     (context, count, devices, lengths, binaries, statuses, error))
CALL(clBuildProgram, BLOCKS,
     (cl_program program, cl_uint count, const cl_device_id *devices, const char *options,
      void(CL_CALLBACK *notify)(cl_program, void *), void *user_data),
     (program, count, devices, options, notify, user_data))
CALL(clGetProgramBuildInfo, PLAIN,
     (cl_program program, cl_device_id device, cl_program_build_info fact, size_t size, void *value,
      size_t *needed),
     (program, device, fact, size, value, needed))
MAKE(cl_kernel, clCreateKernel, PLAIN, LAYER_KERNEL,
     (cl_program program, const char *name, cl_int *error), (program, name, error))
MAKE(cl_kernel, clCloneKernel, PLAIN, LAYER_KERNEL, (cl_kernel kernel, cl_int *error),
     (kernel, error))
CALL(clSetKernelArg, PLAIN, (cl_kernel kernel, cl_uint index, size_t size, const void *value),
     (kernel, index, size, value))
CALL(clSetKernelArgSVMPointer, PLAIN, (cl_kernel kernel, cl_uint index, const void *value),
     (kernel, index, value))
CALL(clSetKernelExecInfo, PLAIN,
     (cl_kernel kernel, cl_kernel_exec_info fact, size_t size, const void *value),
     (kernel, fact, size, value))

/* Events */
RETAIN(Event, cl_event, LAYER_EVENT)
INFO(clGetEventInfo, cl_event, cl_event_info)
INFO(clGetEventProfilingInfo, cl_event, cl_profiling_info)
CALL(clWaitForEvents, BLOCKS, (cl_uint count, const cl_event *list), (count, list))
CALL(clSetEventCallback, PLAIN,
     (cl_event event, cl_int type, void(CL_CALLBACK *notify)(cl_event, cl_int, void *),
      void *user_data),
     (event, type, notify, user_data))
MAKE(cl_event, clCreateUserEvent, PLAIN, LAYER_EVENT, (cl_context context, cl_int *error),
     (context, error))

/* Commands */
COMMAND(clEnqueueReadBuffer, block ? BLOCKS : PLAIN,
        (cl_command_queue queue, cl_mem buffer, cl_bool block, size_t offset, size_t size,
         void *host, WAIT_PARAMS),
        (queue, buffer, block, offset, size, host, count, list, event))
COMMAND(clEnqueueWriteBuffer, block ? BLOCKS : PLAIN,
        (cl_command_queue queue, cl_mem buffer, cl_bool block, size_t offset, size_t size,
         const void *host, WAIT_PARAMS),
        (queue, buffer, block, offset, size, host, count, list, event))
COMMAND(clEnqueueFillBuffer, PLAIN,
        (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size,
         size_t offset, size_t size, WAIT_PARAMS),
        (queue, buffer, pattern, pattern_size, offset, size, count, list, event))
COMMAND(clEnqueueCopyBuffer, PLAIN,
        (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset,
         size_t size, WAIT_PARAMS),
        (queue, from, to, from_offset, to_offset, size, count, list, event))
COMMAND(clEnqueueUnmapMemObject, PLAIN,
        (cl_command_queue queue, cl_mem memory, void *mapped, WAIT_PARAMS),
        (queue, memory, mapped, count, list, event))
COMMAND(clEnqueueMarkerWithWaitList, PLAIN, (cl_command_queue queue, WAIT_PARAMS),
        (queue, count, list, event))
COMMAND(clEnqueueBarrierWithWaitList, PLAIN, (cl_command_queue queue, WAIT_PARAMS),
        (queue, count, list, event))
COMMAND(clEnqueueSVMMemcpy, block ? BLOCKS : PLAIN,
        (cl_command_queue queue, cl_bool block, void *to, const void *from, size_t size,
         WAIT_PARAMS),
        (queue, block, to, from, size, count, list, event))
COMMAND(clEnqueueSVMMap, block ? BLOCKS : PLAIN,
        (cl_command_queue queue, cl_bool block, cl_map_flags flags, void *memory, size_t size,
         WAIT_PARAMS),
        (queue, block, flags, memory, size, count, list, event))
COMMAND(clEnqueueSVMUnmap, PLAIN, (cl_command_queue queue, void *memory, WAIT_PARAMS),
        (queue, memory, count, list, event))

#endif
