// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The words: every structure and enum that the agent must know, so that this object's BTF carries those which
 * no map and no program signature mentions. Nothing here is ever loaded.
 */
#include "abi/lb.h"
#include "abi/policy.h"
#include "abi/reasons.h"
#include "abi/types.h"

struct words {
	struct hw_config config;
	struct hw_event event;
	struct hw_counter counter;
	struct hw_endpoint endpoint;
	struct hw_network network;
	struct hw_member member;
	struct hw_host_address host_address;
	struct hw_uplink uplink;
	struct hw_uplink_mac uplink_mac;
	struct hw_lb_held_key lb_held_key;
	struct hw_lb_held lb_held;
	struct hw_node node;
	struct hw_remote remote;
	struct hw_slice slice;
	struct hw_name name;
	struct hw_name_addresses name_addresses;
	struct hw_name_pointer name_pointer;
	struct hw_name_scope name_scope;
	struct hw_frontend_key frontend_key;
	struct hw_backend backend;
	struct hw_ct4_key ct4_key;
	struct hw_ct4 ct4;
	struct hw_ct6_key ct6_key;
	struct hw_ct6 ct6;
	struct hw_fragment_key fragment_key;
	struct hw_fragment fragment;
	struct hw_sock_origin sock_origin;
	struct hw_sock_sent sock_sent;
	struct hw_policy_state policy_state;
	struct hw_policy_class policy_class;
	struct hw_policy_prefix policy_prefix;
	struct hw_policy_pair policy_pair;
	struct hw_policy_port policy_port;
	struct hw_policy_entry policy_entry;
	struct hw_lb_bucket lb_bucket;
	struct hw_lb_service lb_service;
	struct hw_lb_slot lb_slot;
	struct hw_lb_flows lb_flows;
	struct hw_lb_backend lb_backend;
	struct hw_lb_place lb_place;
	struct hw_lb_counters lb_counters;
	struct hw_lb_sources lb_sources;
	struct hw_lb_client lb_client;
	struct hw_lb_stay lb_stay;
	struct hw_lb_home lb_home;
	struct hw_lb_pool_block lb_pool_block;
	struct hw_lb_origin lb_origin;
	struct hw_lb_elsewhere lb_elsewhere;
	enum hw_event_verdict event_verdict;
	enum hw_event_layout event_layout;
	enum hw_policy_class_flags policy_class_flags;
	enum hw_policy_direction policy_direction;
	enum hw_policy_verdict policy_verdict;
	enum hw_drop_reason drop_reason;
	enum hw_network_flags network_flags;
	enum hw_member_layout member_layout;
	enum hw_name_layout name_layout;
	enum hw_host_address_flags host_address_flags;
	enum hw_ct_flags ct_flags;
	enum hw_node_flags node_flags;
	enum hw_tunnel_key tunnel_key;
	enum hw_direction direction;
	enum hw_sock_layout sock_layout;
	enum hw_metric_layout metric_layout;
	enum hw_lb_layout lb_layout;
	enum hw_lb_form lb_form;
	enum hw_lb_held_state lb_held_state;
	enum hw_lb_pool_layout lb_pool_layout;
	enum hw_lb_translated_flags lb_translated_flags;
	enum hw_lb_elsewhere_layout lb_elsewhere_layout;
	enum hw_lb_frontend_flags lb_frontend_flags;
	enum hw_lb_service_flags lb_service_flags;
	enum hw_lb_times lb_times;
	enum hw_lb_flow_seen lb_flow_seen;
	enum hw_lb_mode lb_mode;
	enum hw_lb_backend_flags lb_backend_flags;
	enum hw_lb_source_layout lb_source_layout;
} words;
