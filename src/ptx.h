/*
 * ptx - lets a kernel use instructions that NVIDIA has for a single chip (sm_90a).
 *
 * PTX is the assembly text that NVIDIA's OpenCL compiler makes of a program, and that
 * CL_PROGRAM_BINARIES returns.  A second compiler in the driver, ptxas, translates the PTX into
 * machine code.  The first compiler always writes for a whole generation, `.target sm_90`, where
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

/* Appends to out the PTX for sm_90a, which is to be built in place of ptx[0..length).  The text
 * may end in NULs.  CL_INVALID_BINARY, with a sentence, where the text is not the PTX of a whole
 * program for sm_90. */
cl_int ptx_for_sm_90a(const char *ptx, size_t length, struct text *out, struct status *status);

#endif
