/*
 * ptx - the step that lets a kernel use what only its own chip has (NVIDIA).
 *
 * PTX is the assembly text that NVIDIA's OpenCL compiler makes of a program, and what
 * CL_PROGRAM_BINARIES hands out: a second compiler in the driver, ptxas, makes machine code
 * of it.  The first compiler always writes for a whole generation, `.target sm_90`, where
 * ptxas refuses the instructions that will not outlive the chip: wgmma, setmaxnreg,
 * tensormap.replace; those need `.target sm_90a`, and no build option asks for it.
 *
 * But a comment in inline assembly passes through the first compiler, its operands put in:
 *
 *     __asm volatile("//@90a wgmma.commit_group.sync.aligned;");
 *
 * So a program is built, its PTX taken from the driver, the marker `//@90a ` removed, the target
 * changed, and the text handed back (clCreateProgramWithBinary).  Only text that the driver
 * of this process has just made goes that way, never a file.
 *
 * `.minnctapersm 1` joins each `.reqntid` (the required work-group size): without a bound on
 * the registers at a kernel's entry ptxas ignores setmaxnreg.
 */
#ifndef PTX_H
#define PTX_H

#include "status.h"

/* Appends to out what is to be built in place of ptx[0..length); a NUL may end it.
 * CL_INVALID_BINARY, with a sentence, for a text that is not such PTX. */
cl_int ptx_for_sm_90a(const char *ptx, size_t length, struct text *out, struct status *status);

#endif
