"""The config.json of models on the hub, field by field, with smaller sizes and with values that are no defaults."""

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 259,
}
COMMON = SIZES | {
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.02,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
QWEN3 = COMMON | {  # Qwen/Qwen3-0.6B
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "head_dim": 24,
    "hidden_act": "silu",
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "transformers_version": "4.51.0",
    "use_sliding_window": False,
}
QWEN3_MOE = QWEN3 | {  # Qwen/Qwen3-30B-A3B
    "architectures": ["Qwen3MoeForCausalLM"],
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 48,
    "norm_topk_prob": True,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "output_router_logits": False,
    "router_aux_loss_coef": 0.001,
    "tie_word_embeddings": False,
}
QWEN2 = COMMON | {  # Qwen/Qwen2.5-0.5B
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "max_window_layers": 24,
    "model_type": "qwen2",
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "transformers_version": "4.40.1",
    "use_mrope": False,
    "use_sliding_window": False,
}
LLAMA3_SCALING = {
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
LLAMA = COMMON | {  # meta-llama/Llama-3.2-1B
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "head_dim": 16,
    "hidden_act": "silu",
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": LLAMA3_SCALING,
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "transformers_version": "4.45.0.dev0",
}
OF_GEMMA = COMMON | {"attention_bias": False, "pad_token_id": 0, "head_dim": 32, "rms_norm_eps": 1e-06}
GEMMA = OF_GEMMA | {  # google/gemma-2b
    "architectures": ["GemmaForCausalLM"],
    "hidden_act": "gelu",
    "hidden_activation": None,
    "max_position_embeddings": 8192,
    "model_type": "gemma",
    "num_key_value_heads": 1,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "transformers_version": "4.38.0.dev0",
}
GEMMA2 = OF_GEMMA | {  # google/gemma-2-2b
    "architectures": ["Gemma2ForCausalLM"],
    "attn_logit_softcapping": 50.0,
    "cache_implementation": "hybrid",
    "final_logit_softcapping": 30.0,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "model_type": "gemma2",
    "query_pre_attn_scalar": 32,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "transformers_version": "4.42.4",
}
GEMMA3 = OF_GEMMA | {  # google/gemma-3-1b-it
    "architectures": ["Gemma3ForCausalLM"],
    "attn_logit_softcapping": None,
    "cache_implementation": "hybrid",
    "eos_token_id": [2, 106],
    "final_logit_softcapping": None,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 32768,
    "model_type": "gemma3_text",
    "num_key_value_heads": 1,
    "query_pre_attn_scalar": 32,
    "rope_local_base_freq": 10000,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "transformers_version": "4.50.0.dev0",
}
OF_TYPE = {
    each["model_type"]: each for each in (QWEN3, QWEN3_MOE, QWEN2, LLAMA, GEMMA, GEMMA2, GEMMA3)
}  # fmt: skip

# Models whose logits are compared with the reference's.
LOGITS = {
    "qwen2": QWEN2,
    "qwen2 untied theta 10,000": QWEN2 | {"rope_theta": 10000.0, "tie_word_embeddings": False, "rms_norm_eps": 1e-3},
    "qwen2 of transformers 5": {k: v for k, v in QWEN2.items() if k != "rope_theta"}
    | {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}},
    "qwen3": QWEN3,
    "qwen3 theta 10,000": QWEN3 | {"rope_theta": 10000},
    "qwen3 theta 5,000,000 untied": QWEN3 | {"rope_theta": 5000000, "tie_word_embeddings": False, "head_dim": 8},
    "qwen3 of transformers 5": {k: v for k, v in QWEN3.items() if k not in ("rope_theta", "rope_scaling")}
    | {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}, "num_key_value_heads": 4},
    "qwen3 linear": QWEN3 | {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "qwen3_moe": QWEN3_MOE,
    "llama": LLAMA,
    "llama stretched": LLAMA | {"rope_scaling": LLAMA3_SCALING | {"original_max_position_embeddings": 64}},
    "llama theta 10,000 untied": LLAMA
    | {"rope_theta": 10000.0, "rope_scaling": None, "tie_word_embeddings": False, "rms_norm_eps": 1e-3},
    "llama without head_dim": {k: v for k, v in LLAMA.items() if k != "head_dim"} | {"num_key_value_heads": 4},
    "gemma": GEMMA,
    "gemma theta 500,000": GEMMA | {"rope_theta": 500000.0, "num_key_value_heads": 4},
    "gemma2": GEMMA2,
    "gemma2 narrow window": GEMMA2 | {"sliding_window": 7, "rope_theta": 500000.0, "num_key_value_heads": 4},
    "gemma2 caps": GEMMA2 | {"attn_logit_softcapping": 0.5, "final_logit_softcapping": 1.5},
    "gemma2 without caps": GEMMA2 | {"attn_logit_softcapping": None, "final_logit_softcapping": None},
    "gemma3_text": GEMMA3 | {"num_hidden_layers": 7},
    "gemma3_text narrow window": GEMMA3
    | {"num_hidden_layers": 7, "sliding_window": 5, "rope_theta": 500000, "rope_local_base_freq": 5000},
    "gemma3_text linear": GEMMA3
    | {"num_hidden_layers": 7, "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "query_pre_attn_scalar": 16},
    "gemma3_text of transformers 5": {
        k: v for k, v in GEMMA3.items() if k not in ("rope_theta", "rope_local_base_freq", "rope_scaling")
    }
    | {
        "num_hidden_layers": 7,
        "num_key_value_heads": 2,
        "layer_types": [*["sliding_attention"] * 5, "full_attention", "sliding_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
            "full_attention": {"rope_type": "default", "rope_theta": 300000.0},
        },
    },
}
