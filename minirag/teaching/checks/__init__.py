"""Checks of the course's exercises: `check_NAME(your_function)` prints whether it is right, or what is wrong and a hint.

A file a topic; they are listed here in the order of the notebooks.
"""

from minirag.teaching.checks.ablations import check_hot_swap, check_paired_interval, check_with_first_k
from minirag.teaching.checks.abstractive import check_bleu_1, check_rouge_l
from minirag.teaching.checks.batches import check_rag_token_batch
from minirag.teaching.checks.biencoder import check_passage_input, check_scores, check_times_found
from minirag.teaching.checks.budgets import check_latency_budget
from minirag.teaching.checks.cloze import check_inverse_cloze
from minirag.teaching.checks.collapsing import check_collapse_statistics
from minirag.teaching.checks.costs import check_decoder_steps
from minirag.teaching.checks.decoding import check_next_token
from minirag.teaching.checks.design import DesignTask
from minirag.teaching.checks.encoder import check_attention, check_layer_norm, check_mean_pool
from minirag.teaching.checks.endtoend import check_gradient_of_scores, check_rag_loss
from minirag.teaching.checks.exercise import Exercise
from minirag.teaching.checks.fast import check_fast
from minirag.teaching.checks.fever import check_accuracies, check_page_recall, check_verdict
from minirag.teaching.checks.fullscale import (
    check_bytes_of_index,
    check_growth_exponent,
    check_merge_shards,
    check_shards_to_write,
)
from minirag.teaching.checks.generator import check_decoder_inputs, check_smoothed_loss
from minirag.teaching.checks.ivf import check_ivf_search
from minirag.teaching.checks.jeopardy import check_distinct, check_q_bleu, check_tally
from minirag.teaching.checks.kmeans import check_kmeans_round
from minirag.teaching.checks.leaking import check_leaks
from minirag.teaching.checks.marginalisation import check_document_prior, check_rag_sequence, check_rag_token
from minirag.teaching.checks.mining import check_mine
from minirag.teaching.checks.moving import check_trained_parameters
from minirag.teaching.checks.openqa import check_holds_answer, check_normal_form
from minirag.teaching.checks.passages import check_plain_links, check_split_words
from minirag.teaching.checks.pq import check_pq_encode, check_pq_scores
from minirag.teaching.checks.repeats import check_without_repeats
from minirag.teaching.checks.search import check_recall, check_score_again, check_top_k
from minirag.teaching.checks.searching import check_beam_search
from minirag.teaching.checks.shrinking import check_memory_budget
from minirag.teaching.checks.speaking import check_who_speaks
from minirag.teaching.checks.testsets import check_paired_bootstrap, check_recall_at
from minirag.teaching.checks.thorough import check_thorough
from minirag.teaching.checks.training import check_hard_negatives, check_in_batch_loss

EXERCISES: tuple[Exercise | DesignTask, ...] = (
    check_split_words,  # 01
    check_plain_links,
    check_attention,  # 02
    check_layer_norm,
    check_mean_pool,
    check_passage_input,  # 03
    check_scores,
    check_times_found,
    check_top_k,  # 04
    check_recall,
    check_score_again,
    check_kmeans_round,  # 05
    check_ivf_search,
    check_pq_scores,
    check_pq_encode,
    check_latency_budget,
    check_memory_budget,
    check_in_batch_loss,  # 06
    check_hard_negatives,
    check_mine,
    check_inverse_cloze,
    check_decoder_inputs,  # 07
    check_smoothed_loss,
    check_beam_search,
    check_without_repeats,
    check_document_prior,  # 08
    check_rag_sequence,
    check_rag_token,
    check_who_speaks,
    check_rag_token_batch,
    check_next_token,  # 09
    check_thorough,
    check_fast,
    check_decoder_steps,
    check_gradient_of_scores,  # 10
    check_rag_loss,
    check_collapse_statistics,
    check_trained_parameters,
    check_normal_form,  # 11
    check_holds_answer,
    check_recall_at,
    check_paired_bootstrap,
    check_leaks,
    check_bleu_1,  # 12
    check_rouge_l,
    check_q_bleu,  # 13
    check_distinct,
    check_tally,
    check_verdict,  # 14
    check_accuracies,
    check_page_recall,
    check_hot_swap,  # 15
    check_paired_interval,
    check_with_first_k,
    check_bytes_of_index,  # 16
    check_growth_exponent,
    check_merge_shards,
    check_shards_to_write,
)

__all__ = [
    "EXERCISES",
    "Exercise",
    "check_accuracies",
    "check_attention",
    "check_beam_search",
    "check_bleu_1",
    "check_bytes_of_index",
    "check_collapse_statistics",
    "check_decoder_inputs",
    "check_decoder_steps",
    "check_distinct",
    "check_document_prior",
    "check_fast",
    "check_gradient_of_scores",
    "check_growth_exponent",
    "check_hard_negatives",
    "check_holds_answer",
    "check_hot_swap",
    "check_in_batch_loss",
    "check_inverse_cloze",
    "check_ivf_search",
    "check_kmeans_round",
    "check_latency_budget",
    "check_layer_norm",
    "check_leaks",
    "check_mean_pool",
    "check_memory_budget",
    "check_merge_shards",
    "check_mine",
    "check_next_token",
    "check_normal_form",
    "check_page_recall",
    "check_paired_bootstrap",
    "check_paired_interval",
    "check_passage_input",
    "check_plain_links",
    "check_pq_encode",
    "check_pq_scores",
    "check_q_bleu",
    "check_rag_loss",
    "check_rag_sequence",
    "check_rag_token",
    "check_rag_token_batch",
    "check_recall",
    "check_recall_at",
    "check_rouge_l",
    "check_score_again",
    "check_scores",
    "check_shards_to_write",
    "check_smoothed_loss",
    "check_split_words",
    "check_tally",
    "check_thorough",
    "check_times_found",
    "check_top_k",
    "check_trained_parameters",
    "check_verdict",
    "check_who_speaks",
    "check_with_first_k",
    "check_without_repeats",
]
