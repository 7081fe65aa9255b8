/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The version of an element, what every slot begins with, and how a hash leads to
 * it: see the top of tables.h.
 */
#ifndef OVN_BPF_SLOTS_H
#define OVN_BPF_SLOTS_H

#include "conntrack.h" /* struct bpf_spin_lock for cffi */

/*
 * The value of an index.  Nobody takes the lock but the kernel, which changes a value
 * where it lies only if there is one (BPF_F_LOCK).  Otherwise it puts a new element
 * beside the old one and takes that away: a reader that is between the two, as happens
 * when keys share a bucket, finds neither.
 */
struct ovn_ref {
	__u32 slot;
	struct bpf_spin_lock lock;
};

struct ovn_slot {
	__u32 born; /* first generation that sees this version; 0: never */
	__u32 dead; /* first generation that does not; ~0: still alive */
	__u32 next; /* slot of the version before, or 0 */
};

#endif
