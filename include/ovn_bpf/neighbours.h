/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who is where: FDB, MAC_Binding, and the news that the agent has of them.
 */
#ifndef OVN_BPF_NEIGHBOURS_H
#define OVN_BPF_NEIGHBOURS_H

#include "slots.h"

/* Hash `ovn_fdb`: where a MAC was seen; learnt by the program. */
struct ovn_fdb_key {
	__u32 dp;
	__u8 mac[6];
	__u8 pad[2];
};
struct ovn_fdb {
	struct ovn_fdb_key key; /* repeated: see the top of tables.h */
	__u32 port;
	__u32 seen; /* when it was learnt here, seconds of CLOCK_BOOTTIME; or 0 */
	__u32 used; /* when lookup_fdb() found it last; or 0 */
};

/* Hash `ovn_macs`: link-layer addresses of neighbours, learnt by the program
 * from put_arp and put_nd.  IPv4 as ::ffff:a.b.c.d; host-order words. */
struct ovn_mac_key {
	__u32 dp;
	__u32 port;
	__u32 ip[4];
};
struct ovn_mac {
	struct ovn_mac_key key; /* repeated: see the top of tables.h */
	__u32 mac[2];		/* 16 + 32 bits */
	__u32 seen;		/* seconds of CLOCK_BOOTTIME */
};

/*
 * What the program has just found out, for the agent to tell the Southbound (perf
 * event array `ovn_news`).  What is learnt and finds no reader or no room is in the
 * maps all the same; the rest the guest says again.
 */
enum ovn_news_kind {
	OVN_NEWS_MAC = 1, /* in ovn_macs */
	OVN_NEWS_FDB,	  /* in ovn_fdb */
	OVN_NEWS_VPORT,	  /* bind_vport: `port` speaks for virtual port `vport` */
	OVN_NEWS_AWAKE,	  /* a port that sleeps, OVN_PORT_F_ASLEEP, speaks */
};

struct ovn_news {
	__u64 at;    /* nanoseconds of CLOCK_MONOTONIC */
	__u32 kind;  /* enum ovn_news_kind */
	__u32 group; /* the frame was for a group: other chassis saw it, too */
	__u32 dp;
	__u32 port;
	__u32 vport;
	__u32 ip[4]; /* of OVN_NEWS_MAC */
	__u32 mac[2];
	__u32 pad;
};

#endif
