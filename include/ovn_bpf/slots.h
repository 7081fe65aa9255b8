/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The version of an element: what every slot begins with, see the top of tables.h.
 */
#ifndef OVN_BPF_SLOTS_H
#define OVN_BPF_SLOTS_H

struct ovn_slot {
	__u32 born; /* first generation that sees this version; 0: never */
	__u32 dead; /* first generation that does not; ~0: still alive */
	__u32 next; /* slot of the version before, or 0 */
};

#endif
