/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Operands that do not fit an instruction: addresses with their ports, as OP_DATA
 * behind it (insns.h), for the tracker, for learning and for traces.
 */
#ifndef OVN_BPF_DATA_H
#define OVN_BPF_DATA_H

#include "scratch.h"

static __always_inline void copy4(__u32 *to, const __u32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

/*
 * data_at - the address and the port that n instructions, 1 or 2, have at pc
 *
 * Returns the port; the address, IPv4 in its last word, goes to ip, which stays as it
 * was where there is none.
 */
static __noinline __u32 data_at(__u32 pc, __u32 n, __u32 *ip)
{
	const struct ovn_insn *in = array_at(&ovn_insns, pc), *rest;

	if (!in)
		return 0;
	if (n == 1) {
		ip[0] = 0;
		ip[1] = 0;
		ip[2] = 0;
		ip[3] = in->a;
		return in->b;
	}
	rest = array_at(&ovn_insns, pc + 1);
	if (!rest)
		return 0;
	ip[0] = in->a;
	ip[1] = in->b;
	ip[2] = in->c;
	ip[3] = rest->a;
	return rest->b;
}

#endif
