"""How large MiniWiki is: the figures of its data card."""

from minirag.corpus.miniwiki.facts import facts_of, tokens
from minirag.corpus.miniwiki.wiki import MiniWiki


def sizes(wiki: MiniWiki) -> dict[str, int]:
    """Domains, entities, facts, pages, passages, words and vocabulary; what is withheld; the prose and the dated offices."""
    named: dict[str, set[str]] = {}
    for triple in wiki.triples:
        for name in (triple.subject, triple.object) if triple.object_is_entity else (triple.subject,):
            named.setdefault(name, set()).update(triple.passages)
    return {
        "domains": len(wiki.domains),
        "entities": sum(len(domain.entities) for domain in wiki.domains),
        "entities told of in several passages": sum(len(passages) > 1 for passages in named.values()),
        "facts": sum(1 for _ in facts_of(wiki.domains)),
        "facts withheld from the articles": len(wiki.withheld),
        "articles": len(wiki.pages),
        "articles of prose": len(wiki.prose),
        "passages": len(wiki.passages),
        "words": sum(len(article.text.split()) for article in wiki.articles),
        "vocabulary": len({token for article in wiki.articles for token in tokens(article.text) if token.isalnum()}),
        "offices in two dated snapshots": len(wiki.offices),
    }


def examples(wiki: MiniWiki) -> dict[str, dict[str, int]]:
    """The number of examples by task and split; in a split's name "new entity" and "new phrasing" count those marked so."""
    table: dict[str, dict[str, int]] = {}
    for task in wiki.examples:
        row = table[task] = {}
        for split, made in wiki.by_split(task).items():
            row[split] = len(made)
            if split == "test":
                row["test, new entity"] = sum(example.new_entity for example in made)
                row["test, new phrasing"] = sum(example.new_phrasing for example in made)
    return table


def by_domain(wiki: MiniWiki) -> dict[str, dict[str, int]]:
    """Entities, relations and facts of each domain."""
    return {
        domain.name: {
            "entities": len(domain.entities),
            "relations": len(domain.phrasings.relations),
            "facts": sum(1 for _ in facts_of([domain])),
        }
        for domain in wiki.domains
    }
