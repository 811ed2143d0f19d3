"""The architectures that Tunix 0.1.7 has: what each computes of a config.json, and what it has no way to compute."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runs.trainer import rope
from runs.trainer.refusal import NotComputed

SILU = ("silu", "swish")
GELU = ("gelu_pytorch_tanh",)
# The values that are computed, of fields that change what a model computes. A field that is absent or null is not
# asked for, and neither is one that its architecture does not have in transformers, unless it is here.
EVERYWHERE: Mapping[str, tuple[Any, ...]] = {
    "quantization_config": (),
    "auto_map": (),
    "attention_dropout": (0,),
    "hidden_dropout": (0,),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "qk_norm": (False,),
    "use_qk_norm": (False,),
    "use_mrope": (False,),
    "use_sliding_window": (False,),
    "use_bidirectional_attention": (False,),
    "attn_logit_softcapping": (),
    "final_logit_softcapping": (),
    "query_pre_attn_scalar": (),
    "partial_rotary_factor": (1,),
    "rope_local_base_freq": (),
    "dual_chunk_attention_config": (),
    "num_experts": (0,),
    "num_local_experts": (0,),
    "n_routed_experts": (0,),
    "output_router_logits": (False,),
    "embedding_multiplier": (1,),
    "attention_multiplier": (),
    "residual_multiplier": (1,),
    "logits_scaling": (1,),
}
ANY = None


@dataclass(frozen=True)
class Architecture:
    """One of Tunix's models: its package, its loader's module, and its ModelConfig of transformers' config.

    `values` adds to EVERYWHERE, or takes its place; ANY is for what `config` decides, by raising NotComputed.
    """

    package: str
    loader: str
    config: Callable[[Any, Any], Any]
    values: Mapping[str, tuple[Any, ...] | None]

    def refuse_values(self, found: Mapping[str, Any]) -> None:
        """`found` is a config.json, with what it leaves out. Raises NotComputed."""
        for field, values in {**EVERYWHERE, **self.values}.items():
            value = found.get(field)
            if values is not ANY and value is not None and value not in values:
                computed = " or ".join(map(repr, values))
                raise NotComputed(field, value, f"{field} {computed}" if computed else f"no {field}")


def head_dim(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // max(config.num_attention_heads, 1))


def _sizes(config: Any) -> dict[str, Any]:
    sizes = {
        "num_hidden_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": head_dim(config),
        "vocab_size": config.vocab_size,
    }
    for field, size in sizes.items():
        if size < 1:
            raise NotComputed(field, size, "a number above 0")
    if sizes["head_dim"] % 2:
        raise NotComputed("head_dim", sizes["head_dim"], "an even number")
    if config.num_attention_heads % config.num_key_value_heads:
        divisor = f"a divisor of num_attention_heads ({config.num_attention_heads})"
        raise NotComputed("num_key_value_heads", config.num_key_value_heads, divisor)
    names = ("num_layers", "embed_dim", "hidden_dim", "num_heads", "num_kv_heads", "head_dim")
    return dict(zip(names, sizes.values(), strict=False))


# --- Qwen and Llama ---------------------------------------------------------------------------------------------------


def _of_words(config: Any) -> dict[str, Any]:
    _all_layers_see_all(config)
    theta = config.rope_parameters["rope_theta"]
    return _sizes(config) | {"vocab_size": config.vocab_size, "rope_theta": theta, "norm_eps": config.rms_norm_eps}


def _all_layers_see_all(config: Any) -> None:
    for kind in getattr(config, "layer_types", None) or ():
        if kind != "full_attention":
            raise NotComputed("layer_types", kind, "full_attention in each layer")


def _qwen2(model: Any, config: Any) -> Any:
    rope.check(config.rope_parameters, ("default",))
    return _qwen3(model, config)


def _qwen3(model: Any, config: Any) -> Any:
    return model.ModelConfig(**_of_words(config), use_tied_embedding=config.tie_word_embeddings)


def _qwen3_moe(model: Any, config: Any) -> Any:
    sizes = _of_words(config) | {"hidden_dim": config.moe_intermediate_size}
    experts = {"num_experts": config.num_experts, "num_experts_per_tok": config.num_experts_per_tok}
    return model.ModelConfig(**sizes, **experts, use_tied_embedding=config.tie_word_embeddings)


def _llama(model: Any, config: Any) -> Any:
    return model.ModelConfig(**_of_words(config), weight_tying=config.tie_word_embeddings)


# --- Gemma ------------------------------------------------------------------------------------------------------------


def _gemma(model: Any, config: Any) -> Any:
    every = (model.AttentionType.GLOBAL,) * config.num_hidden_layers
    return _of_gemma(model, config, every, final_logit_softcap=None, use_post_attn_norm=False, use_post_ffw_norm=False)


def _gemma2(model: Any, config: Any) -> Any:
    _has_a_window(config)
    if config.query_pre_attn_scalar != head_dim(config):
        raise NotComputed("query_pre_attn_scalar", config.query_pre_attn_scalar, f"head_dim ({head_dim(config)})")
    kinds = {"sliding_attention": model.AttentionType.LOCAL_SLIDING, "full_attention": model.AttentionType.GLOBAL}
    return _of_gemma(
        model,
        config,
        tuple(kinds[each] for each in config.layer_types),
        final_logit_softcap=config.final_logit_softcapping,
        attn_logits_soft_cap=config.attn_logit_softcapping,
        sliding_window_size=config.sliding_window,
        use_post_attn_norm=True,
        use_post_ffw_norm=True,
    )


def _of_gemma(model: Any, config: Any, attention: tuple[Any, ...], **more: Any) -> Any:
    return model.ModelConfig(**_sizes(config), num_embed=config.vocab_size, attention_types=attention, **more)


def _gemma3(model: Any, config: Any) -> Any:
    _five_layers_of_six_slide(config.layer_types)
    _has_a_window(config)
    local, everywhere = (config.rope_parameters[f"{each}_attention"] for each in ("sliding", "full"))
    rope.check(local, ("default",))
    scaled = rope.check(everywhere, ("default", "linear")) == "linear"
    return model.ModelConfig(
        **_sizes(config),
        num_embed=config.vocab_size,
        sliding_window_size=config.sliding_window,
        local_base_frequency=local["rope_theta"],
        global_base_frequency=everywhere["rope_theta"],
        global_scale_factor=everywhere["factor"] if scaled else 1.0,
        query_pre_attn_norm=_gemma3_scale(model.QueryPreAttentionNormalisation, config),
    )


def _has_a_window(config: Any) -> None:
    if config.sliding_window is None and "sliding_attention" in config.layer_types:
        raise NotComputed("sliding_window", None, "a number of tokens")


def _five_layers_of_six_slide(kinds: list[str]) -> None:
    for number, kind in enumerate(kinds, 1):
        if kind != ("sliding_attention" if number % 6 else "full_attention"):
            raise NotComputed("layer_types", kind, f"each sixth layer full_attention, which layer {number} is not")


def _gemma3_scale(ways: Any, config: Any) -> Any:
    scalar, by_width = config.query_pre_attn_scalar, config.hidden_size // config.num_attention_heads
    if scalar == head_dim(config):
        return ways.BY_ONE_OVER_SQRT_HEAD_DIM
    if scalar == by_width:
        return ways.BY_ONE_OVER_SQRT_EMBED_DIM_DIV_NUM_HEADS
    raise NotComputed(
        "query_pre_attn_scalar", scalar, f"head_dim ({head_dim(config)}) or hidden_size / heads ({by_width})"
    )


OF_GEMMA: Mapping[str, tuple[Any, ...] | None] = {"tie_word_embeddings": (True,), "rms_norm_eps": (1e-6,)}
OF_LATER_GEMMA = {**OF_GEMMA, "hidden_activation": GELU, "query_pre_attn_scalar": ANY}
EXPERTS: Mapping[str, tuple[Any, ...] | None] = {
    "norm_topk_prob": (True,),
    "decoder_sparse_step": (1,),
    "mlp_only_layers": ([],),
    "num_experts": ANY,
    "num_local_experts": ANY,  # another name that transformers 5 has for it
}

ARCHITECTURES = {
    "qwen3": Architecture("qwen3", "params", _qwen3, {"hidden_act": SILU}),
    "qwen3_moe": Architecture("qwen3", "params", _qwen3_moe, {"hidden_act": SILU, **EXPERTS}),
    # Its queries, keys and values have a bias, whatever a config says: in transformers, too.
    "qwen2": Architecture("qwen2", "params", _qwen2, {"hidden_act": SILU, "attention_bias": ANY}),
    "llama": Architecture("llama3", "params", _llama, {"hidden_act": SILU, "sliding_window": ()}),
    # The first configs of Gemma said gelu and meant its approximation, which hidden_activation then named.
    "gemma": Architecture(
        "gemma", "params_safetensors", _gemma, {**OF_GEMMA, "hidden_act": (*GELU, "gelu"), "hidden_activation": GELU}
    ),
    "gemma2": Architecture(
        "gemma",
        "params_safetensors",
        _gemma2,
        {**OF_LATER_GEMMA, "attn_logit_softcapping": ANY, "final_logit_softcapping": ANY},
    ),
    "gemma3_text": Architecture(
        "gemma3", "params_safetensors", _gemma3, {**OF_LATER_GEMMA, "rope_local_base_freq": ANY}
    ),
}
