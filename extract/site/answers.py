"""The site's JSON answers, in the field names that public readers document."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from extract.site.account import HANDLE, Post
from extract.site.counters import Truth

USER_ID = "700000007"


def user_result(followers: int, tweets: int) -> dict[str, Any]:
    return {
        "__typename": "User",
        "rest_id": USER_ID,
        "core": {"screen_name": HANDLE, "name": "Levelset Demo"},
        "legacy": {"followers_count": followers, "friends_count": 180, "statuses_count": tweets},
    }


def tweet_result(post: Post, truth: Truth, generation: str) -> dict[str, Any]:
    """A live post: ``generation`` a keeps its counters under legacy, b beside ``legacy: null``, c under counts."""
    counts = {
        "favorite_count": truth.likes,
        "retweet_count": truth.retweets,
        "reply_count": truth.replies,
        "quote_count": truth.quotes,
        "bookmark_count": truth.bookmarks,
    }
    body: dict[str, Any] = {
        "full_text": post.text,
        "created_at": post.posted_at.strftime("%a %b %d %H:%M:%S +0000 %Y"),
        "conversation_id_str": post.root_id,
        "user_id_str": USER_ID,
        "id_str": post.tweet_id,
    }
    if post.target_tweet_id:
        body["in_reply_to_status_id_str"] = post.target_tweet_id
    result: dict[str, Any] = {
        "__typename": "Tweet",
        "rest_id": post.tweet_id,
        "core": {"user_results": {"result": user_result(0, 0)}},
        "edit_control": {"edit_tweet_ids": [post.tweet_id]},
        "views": {"count": str(truth.views), "state": "EnabledWithCount"},
    }
    if generation == "b":
        return {**result, "legacy": None, **body, **counts}
    if generation == "c":
        created = int(post.posted_at.timestamp() * 1000)
        details = {"full_text": post.text, "created_at_ms": created}
        return {**result, "details": details, "counts": counts}
    return {**result, "legacy": {**body, **counts}}


def tombstone() -> dict[str, Any]:
    text = "This Post was deleted by the Post author. Learn more"
    return {"__typename": "TweetTombstone", "tombstone": {"__typename": "TextTombstone", "text": {"text": text}}}


def timeline(results: list[tuple[str, dict[str, Any]]], cursor: str | None) -> dict[str, Any]:
    """A page of a profile's timeline; ``results`` are (tweet id, result), ``cursor`` leads to the next page."""
    entries: list[dict[str, Any]] = [
        {
            "entryId": f"tweet-{tweet_id}",
            "content": {"itemContent": {"__typename": "TimelineTweet", "tweet_results": {"result": result}}},
        }
        for tweet_id, result in results
    ]
    if cursor:
        content = {"cursorType": "Bottom", "value": cursor}
        entries.append({"entryId": f"cursor-bottom-{cursor}", "content": content})
    instructions = [{"type": "TimelineClearCache"}, {"type": "TimelineAddEntries", "entries": entries}]
    return {"data": {"user": {"result": {"timeline": {"timeline": {"instructions": instructions}}}}}}


def json_ld(post: Post, truth: Truth) -> dict[str, Any]:
    def statistic(action: str, name: str, count: int) -> dict[str, Any]:
        kind = f"https://schema.org/{action}"
        return {
            "@type": "InteractionCounter",
            "interactionType": kind,
            "name": name,
            "userInteractionCount": count,
        }

    return {
        "@context": "https://schema.org",
        "@type": "SocialMediaPosting",
        "identifier": post.tweet_id,
        "dateCreated": _iso(post.posted_at),
        "author": {"@type": "Person", "alternateName": f"@{HANDLE}"},
        "commentCount": truth.replies,
        "interactionStatistic": [
            statistic("LikeAction", "Likes", truth.likes),
            statistic("ShareAction", "Retweets", truth.retweets),
            statistic("CommentAction", "Replies", truth.replies),
            statistic("ViewAction", "Views", truth.views),
        ],
    }


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
