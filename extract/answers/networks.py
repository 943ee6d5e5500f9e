"""Answers that are not X's GraphQL: JSON-LD, the embed endpoint, X API v2, Mastodon and Bluesky."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from extract.answers.graphql import read_tombstone_text
from extract.answers.numbers import read_counters, whole
from extract.reading.record import Count, Counters, Reading, Status


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


def read_api_v2(body: Mapping[str, Any]) -> list[Reading]:
    """X API v2, ``GET /2/tweets?ids=``: one row per post, and one error per post that is gone."""
    names = {
        "likes": "like_count",
        "retweets": "retweet_count",
        "replies": "reply_count",
        "quotes": "quote_count",
        "bookmarks": "bookmark_count",
        "views": "impression_count",
    }
    readings = []
    users = (body.get("includes") or {}).get("users") or []
    names_of = {user.get("id"): user.get("username") for user in users}
    for row in body.get("data") or []:
        counters, warnings = read_counters(row.get("public_metrics") or {}, names, "api_v2")
        repost = any(item.get("type") == "retweeted" for item in row.get("referenced_tweets") or [])
        if repost:
            # real rows give 0 views and 0 likes for a repost whose original has thousands: unknown, not zero
            counters = Counters(retweets=counters.retweets)
            warnings += ("repost: its counters are not the original's",)
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
        readings.append(replace(reading, status=Status.REPOST) if repost else _settled(reading))
    for error in body.get("errors") or []:
        kind = str(error.get("type") or "")
        if kind.endswith("resource-not-found"):
            status = Status.DELETED
        elif kind.endswith("not-authorized-for-resource"):
            status = Status.PROTECTED
        else:
            status = Status.UNAVAILABLE
        readings.append(
            Reading(
                status, tweet_id=str(error.get("resource_id") or error.get("value") or "") or None, selector="api_v2"
            )
        )
    return readings


def read_mastodon(node: Mapping[str, Any]) -> Reading:
    """One Mastodon status: no views and no bookmarks there."""
    names = {
        "likes": "favourites_count",
        "retweets": "reblogs_count",
        "replies": "replies_count",
        "quotes": "quotes_count",
    }
    counters, warnings = read_counters(node, names, "mastodon")
    return _settled(
        Reading(
            Status.OK,
            tweet_id=str(node.get("id")),
            counters=counters,
            author=(node.get("account") or {}).get("acct"),
            posted_at=_instant(node.get("created_at")),
            warnings=warnings,
            selector="mastodon",
        )
    )


def read_bluesky(body: Mapping[str, Any]) -> list[Reading]:
    """Bluesky ``getPosts``: up to 25 posts; those that are gone are simply left out. No views there."""
    names = {
        "likes": "likeCount",
        "retweets": "repostCount",
        "replies": "replyCount",
        "quotes": "quoteCount",
        "bookmarks": "bookmarkCount",
    }
    readings = []
    for post in body.get("posts") or []:
        counters, warnings = read_counters(post, names, "bluesky")
        readings.append(
            _settled(
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
        )
    return readings
