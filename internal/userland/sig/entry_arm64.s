//go:build entry

// The program's entry point. It sets _SigDefault (16) in runtime.sigtable, entries of 24 bytes that
// begin with the flags, for all signals but those that sig.Defaults leaves alone, too; a signal
// without flags is none of the runtime's. Then the usual entry point goes on.

#include "textflag.h"

TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	MOVD	$runtime·sigtable(SB), R0
	MOVD	$1, R1
next:
	ADD	$24, R0
	CMP	$23, R1 // SIGURG
	BEQ	skip
	CMP	$32, R1
	BLT	mark
	CMP	$34, R1
	BLE	skip
mark:
	MOVW	(R0), R2
	CBZ	R2, skip
	ORR	$16, R2
	MOVW	R2, (R0)
skip:
	ADD	$1, R1
	CMP	$64, R1
	BLE	next
	JMP	_rt0_arm64_linux(SB)
