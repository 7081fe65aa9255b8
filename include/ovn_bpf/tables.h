/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct that crosses the map boundary.  One definition for the BPF
 * program, the C helpers and (through cffi) Python; a test proves that the
 * three see the same layout.
 *
 * Two patterns carry all the tables:
 *
 * - A *slot* is an element of an array map that is written once, while nobody
 *   can reach it, and reused only after an RCU grace period.  A hash map gives
 *   the slot's index and nothing else (struct ovn_ref), because the memory of a
 *   hash element is reused at once: a reader may see another key's value.  The slot
 *   repeats its key, and the reader checks it.
 * - A slot lives for generations [born, dead).  A packet reads the generation
 *   once, at entry; `next` leads to the version before, or is 0.  Slot 0 of
 *   every array is never used.
 */
#ifndef OVN_BPF_TABLES_H
#define OVN_BPF_TABLES_H

#include "conntrack.h"
#include "counts.h"
#include "insns.h"
#include "learnt.h"
#include "meters.h"
#include "neighbours.h"
#include "ports.h"
#include "punts.h"
#include "rules.h"
#include "served.h"
#include "slots.h"
#include "trace.h"
#include "witness.h"
#include "words.h"

#define OVN_LAYOUT_VERSION 2

/* The control block: element 0 of map `ovn_ctl`. */
struct ovn_ctl {
	__u32 generation;     /* what a packet that enters now obeys */
	__u32 layout;	      /* OVN_LAYOUT_VERSION */
	__u32 tunnel_mode;    /* enum ovn_tunnel_mode */
	__u32 tunnel_ifindex; /* collect-metadata netdev, 0 when inline */
	__u32 decap_flags;    /* kernel has BPF_F_ADJ_ROOM_DECAP_L3_* (6.3) */
	__u32 told;	      /* what was learnt until then the Southbound was told:
			       * seconds of CLOCK_BOOTTIME */
	__u32 missed;	      /* how often there was more to tell than a source may */
	__u32 pad;
};

enum ovn_tunnel_mode {
	OVN_TUNNEL_INLINE = 0,
	OVN_TUNNEL_NETDEV = 1,
};

#endif
