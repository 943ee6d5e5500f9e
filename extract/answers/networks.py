"""Answers that are not X's GraphQL: JSON-LD, the embed endpoint, X API v1.1 and v2, Mastodon and Bluesky."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from extract.answers.graphql import post_time, read_tombstone_text
from extract.answers.numbers import read_counters, whole
from extract.reading.record import Count, Counters, Reading, Status

_REPOST = "repost: its counters are not the original's"


def _instant(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _settled(reading: Reading) -> Reading:
    """The status that the counters and warnings of a reading amount to."""
    if reading.warnings:
        return replace(reading, status=Status.PARTIAL)
    return reading if reading.counters.any_read() else replace(reading, status=Status.NO_DATA)


def read_json_ld(node: Mapping[str, Any]) -> Reading:
    """A ``SocialMediaPosting`` of a signed-out page: exact counts, but neither quotes nor bookmarks.

    A statistic is known by its name or its schema.org action; one that is neither is passed over.
    """
    source = "ld+json"
    found: dict[str, Count] = {}
    warnings = []
    by_name = {"likes": "likes", "retweets": "retweets", "replies": "replies", "views": "views"}
    by_action = {"LikeAction": "likes", "ViewAction": "views", "CommentAction": "replies"}
    for statistic in node.get("interactionStatistic") or []:
        action = str(statistic.get("interactionType") or "").rsplit("/", 1)[-1]
        counter = by_name.get(str(statistic.get("name") or "").lower()) or by_action.get(action)
        raw = statistic.get("userInteractionCount")
        if counter is None or raw is None:
            continue
        value = whole(raw)
        if value is None:
            warnings.append(f"{counter}: userInteractionCount is {raw!r:.40}, no whole number: not read")
        else:
            found[counter] = Count(value, source)
    comments = whole(node.get("commentCount"))
    if "replies" not in found and comments is not None:
        found["replies"] = Count(comments, source)
    author = str((node.get("author") or {}).get("alternateName") or "").removeprefix("@") or None
    return _settled(
        Reading(
            Status.OK,
            tweet_id=str(node.get("identifier") or "") or None,
            counters=Counters(**found),
            author=author,
            posted_at=_instant(node.get("dateCreated")),
            warnings=tuple(warnings),
            selector=source,
        )
    )


def read_embed(node: Mapping[str, Any]) -> Reading:
    """The embed endpoint: likes, and the size of the conversation, which is not the number of replies."""
    if node.get("__typename") == "TweetTombstone":
        text = ((node.get("tombstone") or {}).get("text") or {}).get("text")
        return Reading(read_tombstone_text(str(text or "")), detail="tombstone", selector="embed")
    counters, warnings = read_counters(node, {"likes": "favorite_count"}, "embed")
    return _settled(
        Reading(
            Status.OK,
            tweet_id=node.get("id_str"),
            counters=counters,
            author=(node.get("user") or {}).get("screen_name"),
            posted_at=_instant(node.get("created_at")),
            warnings=warnings,
            selector="embed",
        )
    )


_V2 = {
    "likes": "like_count",
    "retweets": "retweet_count",
    "replies": "reply_count",
    "quotes": "quote_count",
    "bookmarks": "bookmark_count",
    "views": "impression_count",
}


def read_api_v2(body: Mapping[str, Any]) -> list[Reading]:
    """X API v2: posts (one, looked up, or searched), and one error per post that is gone. A user is no post."""
    users = (body.get("includes") or {}).get("users") or []
    names_of = {user.get("id"): user.get("username") for user in users}
    data = body.get("data") or []
    rows = [data] if isinstance(data, Mapping) else data
    gone = [_v2_error(error) for error in body.get("errors") or [] if error.get("resource_type") in ("tweet", None)]
    return [*(_v2_row(row, names_of) for row in rows), *gone]


def _v2_row(row: Mapping[str, Any], names_of: Mapping[Any, str | None]) -> Reading:
    metrics = row.get("public_metrics") or {}
    if "username" in row or "followers_count" in metrics:
        detail = "a user, not a post: its like_count is how many likes the user gave"
        return Reading(Status.NO_DATA, detail=detail, author=row.get("username"), selector="api_v2")
    if "text" not in row and "retweet_count" not in metrics:
        return Reading(Status.NO_DATA, detail="a row that is no post: it has no text", selector="api_v2")
    counters, warnings = read_counters(metrics, _V2, "api_v2")
    repost = any(item.get("type") == "retweeted" for item in row.get("referenced_tweets") or [])
    if repost:
        # real rows give 0 views and 0 likes for a repost whose original has thousands: unknown, not zero
        counters = Counters(retweets=counters.retweets)
        warnings += (_REPOST,)
    reading = Reading(
        Status.OK,
        tweet_id=str(row["id"]),
        canonical_id=next(iter(row.get("edit_history_tweet_ids") or []), None),
        counters=counters,
        author=names_of.get(row.get("author_id")),
        posted_at=_instant(row.get("created_at")),
        warnings=warnings,
        selector="api_v2",
    )
    return replace(reading, status=Status.REPOST) if repost else _settled(reading)


def _v2_error(error: Mapping[str, Any]) -> Reading:
    kind = str(error.get("type") or "")
    if kind.endswith("resource-not-found"):
        status = Status.DELETED
    elif kind.endswith("not-authorized-for-resource"):
        status = Status.PROTECTED
    else:
        status = Status.UNAVAILABLE
    tweet_id = str(error.get("resource_id") or error.get("value") or "") or None
    return Reading(status, tweet_id=tweet_id, selector="api_v2")


def read_v1_status(status: Mapping[str, Any], source: str = "v1.1") -> list[Reading]:
    """A status of X API v1.1, or a post of an account's archive, which names no author. No views there.

    A retweet's own counters are not the original's; the original follows it where it is there.
    """
    names = {
        "likes": "favorite_count",
        "retweets": "retweet_count",
        "replies": "reply_count",
        "quotes": "quote_count",
    }
    original = status.get("retweeted_status")
    counters, warnings = read_counters(status, names, source)
    reading = Reading(
        Status.OK,
        tweet_id=status.get("id_str"),
        counters=counters,
        author=(status.get("user") or {}).get("screen_name"),
        posted_at=post_time(status.get("created_at")),
        warnings=warnings,
        selector=source,
    )
    # an archive keeps of a retweet only its text, and counts of 0
    if original is None and not str(status.get("full_text") or status.get("text") or "").startswith("RT @"):
        return [_settled(reading)]
    return [_as_repost(reading), *(read_v1_status(original, source) if original else ())]


def _as_repost(reading: Reading) -> Reading:
    return replace(reading, status=Status.REPOST, counters=Counters(), warnings=(_REPOST,))


def read_mastodon(node: Mapping[str, Any]) -> list[Reading]:
    """One Mastodon status: no views and no bookmarks there. A reblog is a separate status, with counts of 0: it is
    a repost without counters, and the status that it repeats follows it.
    """
    names = {
        "likes": "favourites_count",
        "retweets": "reblogs_count",
        "replies": "replies_count",
        "quotes": "quotes_count",
    }
    counters, warnings = read_counters(node, names, "mastodon")
    reading = Reading(
        Status.OK,
        tweet_id=str(node.get("id")),
        counters=counters,
        author=(node.get("account") or {}).get("acct"),
        posted_at=_instant(node.get("created_at")),
        warnings=warnings,
        selector="mastodon",
    )
    if isinstance(node.get("reblog"), Mapping):
        return [_as_repost(reading), *read_mastodon(node["reblog"])]
    return [_settled(reading)]


def read_bluesky(posts: Iterable[Mapping[str, Any]]) -> list[Reading]:
    """Bluesky's posts, as its feeds, threads and ``getPosts`` show them; the last leaves those that are gone out.

    No views there.
    """
    return [_bluesky_post(post) for post in posts]


def _bluesky_post(post: Mapping[str, Any]) -> Reading:
    names = {
        "likes": "likeCount",
        "retweets": "repostCount",
        "replies": "replyCount",
        "quotes": "quoteCount",
        "bookmarks": "bookmarkCount",
    }
    if post.get("notFound"):
        return Reading(Status.DELETED, tweet_id=post.get("uri"), detail="not found", selector="bluesky")
    if post.get("blocked"):
        return Reading(Status.UNAVAILABLE, tweet_id=post.get("uri"), detail="blocked", selector="bluesky")
    counters, warnings = read_counters(post, names, "bluesky")
    return _settled(
        Reading(
            Status.OK,
            tweet_id=post.get("uri"),
            counters=counters,
            author=(post.get("author") or {}).get("handle"),
            posted_at=_instant((post.get("record") or {}).get("createdAt")),
            warnings=warnings,
            selector="bluesky",
        )
    )
