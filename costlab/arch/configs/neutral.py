"""Fields of a config.json that change neither parameters, nor cache, nor work, whatever the family.

What transformers' `PretrainedConfig` holds for generation and training, token ids, scales and activations. A field that
changes a count in one family only does not stand here: that family reads it.
"""

from __future__ import annotations

_RUNNING = """
    architectures auto_map transformers_version _name_or_path name_or_path return_dict return_dict_in_generate
    output_hidden_states output_attentions output_router_logits output_scores torchscript use_cache use_bfloat16
    torch_dtype dtype model_type _attn_implementation attn_implementation _attn_implementation_autoset
    _experts_implementation chunk_size_feed_forward is_encoder_decoder is_decoder id2label label2id num_labels
    problem_type tokenizer_class pruned_heads tf_legacy_loss finetuning_task task_specific_params prefix
    pretraining_tp ep_size use_flash_attn fused_attn keys_to_ignore_at_inference unsloth_fixed unsloth_version
    use_mamba_kernels num_logits_to_keep chunk_size mamba_chunk_size use_kernels cache_implementation hybrid_cache
    is_causal remove_invalid_values language_model_only max_batch_size
"""

_GENERATION = """
    temperature top_k top_p typical_p do_sample num_beams num_beam_groups num_return_sequences max_length min_length
    early_stopping diversity_penalty repetition_penalty encoder_no_repeat_ngram_size no_repeat_ngram_size
    length_penalty bad_words_ids begin_suppress_tokens suppress_tokens exponential_decay_length_penalty
    forced_bos_token_id forced_eos_token_id generation_config ignore_index image_placeholder video_placeholder
    use_unified_vision_chunk vision_soft_tokens_per_image
"""

_TRAINING = """
    initializer_range initializer_cutoff_factor rescale_prenorm_residual attention_dropout hidden_dropout
    resid_pdrop embd_pdrop attn_pdrop residual_dropout embedding_dropout hidden_dropout_prob dropout
    attention_probs_dropout_prob router_aux_loss_coef aux_loss_alpha seq_aux z_loss_coefficient router_z_loss_coef
    router_jitter_noise input_jitter_noise mtp_loss_scaling_factor output_dropout init_method_std init_std
    gradient_checkpointing train_max_seq_len
"""

_NUMBERS = """
    hidden_act hidden_activation mlp_hidden_act mamba_hidden_act activation_function swiglu_limit swiglu_alpha
    rms_norm_eps layer_norm_eps layer_norm_epsilon layernorm_epsilon norm_eps norm_epsilon hc_eps residual_in_fp32
    routed_scaling_factor router_scaling_factor norm_topk_prob moe_renormalize attention_value_scale
    rope_theta rope_scaling rope_parameters rope_interleave indexer_rope_interleave rope_local_base_freq
    rope_pct rope_ratio rope_type swa_rope_theta compress_rope_theta partial_rotary_factor partial_rotary_factors
    original_max_position_embeddings max_position_embeddings model_max_length initial_context_length max_seq_len
    query_pre_attn_scalar attn_logit_softcapping final_logit_softcapping embedding_multiplier logits_scaling
    residual_multiplier attention_multiplier lm_head_multiplier attn_scale floor_scale attn_temperature_tuning
    scale_depth scale_emb dim_model_base time_step_min time_step_max time_step_limit time_step_floor
    moe_router_dtype enable_moe_fp32_combine mlp_bias_dtype moe_norm_min seq_length
"""

#: Names of fields that change no count.
NEUTRAL = frozenset((_RUNNING + _GENERATION + _TRAINING + _NUMBERS).split())

_ENDS = ("_token_id", "_token_ids", "_token_index", "_tokens_id", "_placeholder")


def is_neutral(name: str) -> bool:
    """Return whether a field's name says that it is a token's number."""
    return name.endswith(_ENDS)
