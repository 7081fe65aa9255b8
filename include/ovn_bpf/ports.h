/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Logical ports, multicast groups, datapaths, and the chassis behind the tunnels.
 */
#ifndef OVN_BPF_PORTS_LAYOUT_H
#define OVN_BPF_PORTS_LAYOUT_H

#include "slots.h"
#include "words.h"

enum ovn_port_kind {
	OVN_PORT_NONE = 0,   /* known, but nowhere: not bound by anybody */
	OVN_PORT_VIF = 1,    /* a device of ours: ifindex */
	OVN_PORT_REMOTE = 2, /* bound by another chassis: chassis */
	OVN_PORT_PATCH = 3,  /* peer_dp/peer_port, a jump in this program */
	OVN_PORT_ALIAS = 4,  /* chassisredirect, here: means peer_port */
};

enum ovn_port_flag {
	OVN_PORT_F_LOCALPORT = 1 << 0, /* never leaves this chassis */
	OVN_PORT_F_NESTED = 1 << 1,    /* container behind a VIF: vlan */
	OVN_PORT_F_GATEWAY = 1 << 2,   /* patch port of this chassis alone */
	OVN_PORT_F_RARP = 1 << 4,      /* nothing passes until the guest sends RARP, */
	OVN_PORT_F_GARP = 1 << 5,      /* or a gratuitous ARP, */
	OVN_PORT_F_NA = 1 << 6,	       /* or a neighbour advertisement */
	OVN_PORT_F_ASLEEP = 7 << 4,
	OVN_PORT_F_MIRROR = 1 << 7, /* a VIF that nothing enters by */
};

/* Map `ovn_ports`, found through `ovn_port_idx` (struct ovn_port_key). */
struct ovn_port_key {
	__u32 dp;   /* datapath tunnel key */
	__u32 port; /* port tunnel key */
};

struct ovn_port {
	struct ovn_slot slot;
	struct ovn_port_key key;
	__u32 dp_index; /* first stage is dp_index * OVN_STAGES_PER_DP */
	__u32 kind;
	__u32 flags;
	__u32 ifindex; /* VIF */
	__u32 vlan;    /* nested container: VLAN id, otherwise 0 */
	__u32 ct_zone;
	__u32 chassis;	 /* REMOTE: index in ovn_chassis */
	__u32 peer_port; /* PATCH: with peer_dp, a key of ovn_port_idx */
	__u32 peer_dp;
	__u32 pad;
};

/* Hash `ovn_ifports`: which logical port a frame enters by; the value is a
 * slot of ovn_ports whose ifindex and vlan say the same. */
struct ovn_ifport_key {
	__u32 ifindex;
	__u32 vlan;
};

/* Map `ovn_mcgroups`, found through `ovn_mc_idx` (struct ovn_port_key, port
 * >= OVN_MIN_MCGROUP).  Members lie in ovn_members: first the n_local port
 * keys of this chassis, then the n_remote chassis indices. */
struct ovn_mcgroup {
	struct ovn_slot slot;
	struct ovn_port_key key;
	__u32 dp_index;
	__u32 first;
	__u32 n_local;
	__u32 n_remote;
	__u32 pad[2];
};

/* Map `ovn_datapaths`, index dp_index. */
struct ovn_datapath {
	__u32 key;   /* tunnel key; 0: unused */
	__u32 flags; /* enum ovn_datapath_flag */
	__u32 dnat_zone;
	__u32 snat_zone;
};

enum ovn_datapath_flag {
	OVN_DP_DECLARED = 1 << 0, /* the agent named it; else it is only used */
};

/* How to reach another chassis.  Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d,
 * network order.  MACs are 0 until the neighbour is known. */
struct ovn_tunnel {
	__u32 flags;   /* OVN_TUN_* */
	__u32 ifindex; /* underlay device the route leaves by */
	__u8 local[16];
	__u8 remote[16];
	__u8 src_mac[6];
	__u8 dst_mac[6];
	__u16 dst_port; /* host order */
	__u16 mtu;	/* of the underlay path, outer header included */
	__u8 tos;
	__u8 ttl;
	__u8 pad[2];
};

enum ovn_tunnel_flag {
	OVN_TUN_VALID = 1 << 0,
	OVN_TUN_IPV6 = 1 << 1,
	OVN_TUN_DF = 1 << 2,
	OVN_TUN_CSUM = 1 << 3,
	OVN_TUN_MAC = 1 << 4, /* src_mac and dst_mac are known */
};

/* Map `ovn_chassis`: t[live & 1] counts, the other one is being written. */
struct ovn_chassis {
	__u32 live;
	__u32 pad;
	struct ovn_tunnel t[2];
};

/* Hash `ovn_peers`: from whom tunnel packets are taken; value __u32 chassis
 * index.  Address as in struct ovn_tunnel. */
struct ovn_peer_key {
	__u8 addr[16];
};

#endif
