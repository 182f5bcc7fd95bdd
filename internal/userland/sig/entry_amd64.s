//go:build entry

// The program's entry point. It sets _SigDefault (16) in runtime.sigtable, entries of 24 bytes that
// begin with the flags, for all signals but those that sig.Defaults leaves alone, too; a signal
// without flags is none of the runtime's. Then the usual entry point goes on.

#include "textflag.h"

TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	LEAQ	runtime·sigtable(SB), AX
	MOVL	$1, CX
next:
	ADDQ	$24, AX
	CMPL	CX, $23 // SIGURG
	JEQ	skip
	CMPL	CX, $32
	JLT	mark
	CMPL	CX, $34
	JLE	skip
mark:
	CMPL	(AX), $0
	JEQ	skip
	ORL	$16, (AX)
skip:
	INCL	CX
	CMPL	CX, $64
	JLE	next
	JMP	_rt0_amd64_linux(SB)
