# What is known of each workload (measure.S says what the fields mean), found by bench/verify.sh and sourced by build.sh.
#             paging rounds  instructions rep_instructions rep_iterations rep_early_exits checksum
facts_alu="   0      1000000 292000022    0                0              0               0x2a6f5ab7"
facts_mem="   1      340     282729925    30600            16654050       28900           0xf1ce1c74"
facts_mixed=" 0      570     302286402    0                0              0               0x4a356b24"
