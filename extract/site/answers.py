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
    """A live post: ``generation`` a keeps its counters under legacy, b beside ``legacy: null``, c under counts.

    What misleads careless readers is there, as in real answers: a quoted post that is a stub or has other
    own, and the counters that an edited post had before.
    """
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
        "id_str": post.shown_id,
        "favorited": post.liked,
    }
    if post.target_tweet_id:
        body["in_reply_to_status_id_str"] = post.target_tweet_id
    result: dict[str, Any] = {
        "__typename": "Tweet",
        "rest_id": post.shown_id,
        "core": {"user_results": {"result": user_result(0, 0)}},
        "edit_control": {"edit_tweet_ids": [post.tweet_id]},
        "views": {"count": str(truth.views), "state": "EnabledWithCount"},
    }
    if post.edited_id:
        control = {"edit_tweet_ids": [post.tweet_id, post.edited_id]}
        result["edit_control"] = {"initial_tweet_id": post.tweet_id, "edit_control_initial": control}
        result["previous_counts"] = {**counts, "favorite_count": truth.likes // 7, "reply_count": 0}
    if post.quoted_id:
        result["quotedRefResult"] = {"result": {"__typename": "Tweet", "rest_id": post.quoted_id}}
        result["quoted_status_result"] = {"result": foreign_result(post.quoted_id, 4_711)}
    if generation == "b":
        return {**result, "legacy": None, **body, **counts}
    if generation == "c":
        created = int(post.posted_at.timestamp() * 1000)
        details = {"full_text": post.text, "created_at_ms": created}
        return {**result, "details": details, "counts": counts}
    return {**result, "legacy": {**body, **counts}}


def foreign_result(tweet_id: str, likes: int) -> dict[str, Any]:
    """Another author's post, as it appears in quotes, ads, conversations and retweets."""
    user = {"__typename": "User", "rest_id": "5", "core": {"screen_name": "a_neighbour", "name": "Neighbour"}}
    counts = {"favorite_count": likes, "retweet_count": 911, "reply_count": 81, "quote_count": 17}
    return {
        "__typename": "Tweet",
        "rest_id": tweet_id,
        "core": {"user_results": {"result": user}},
        "views": {"count": "98765", "state": "EnabledWithCount"},
        "legacy": {"full_text": "Somebody else's words.", "id_str": tweet_id, "bookmark_count": 33, **counts},
    }


def retweet_result(tweet_id: str, original_id: str) -> dict[str, Any]:
    """The account's retweet of a neighbour's post: its own counters are zeros, but for the original's retweets."""
    body = {"full_text": "RT @a_neighbour: words", "id_str": tweet_id, "favorite_count": 0, "retweet_count": 911}
    legacy = {**body, "reply_count": 0, "quote_count": 0, "bookmark_count": 0}
    return {
        "__typename": "Tweet",
        "rest_id": tweet_id,
        "core": {"user_results": {"result": user_result(0, 0)}},
        "views": {"state": "Enabled"},
        "legacy": {**legacy, "retweeted_status_result": {"result": foreign_result(original_id, 5_000)}},
    }


def conversation(post: Post, result: dict[str, Any]) -> dict[str, Any]:
    """TweetDetail: the post in its conversation; a reply's parent comes first, then an ad and a stranger's answer."""
    others = [("ad", str(int(post.tweet_id) + 5)), ("answer", str(int(post.tweet_id) + 6))]
    entries = [_entry(f"tweet-{post.shown_id}", result)]  # a tombstone too is where its post was
    if post.target_tweet_id:
        entries.insert(0, _entry(f"tweet-{post.target_tweet_id}", foreign_result(post.target_tweet_id, 64_000)))
    for kind, tweet_id in others:
        entry = _entry(f"{kind}-{tweet_id}", foreign_result(tweet_id, 7))
        if kind == "ad":
            entry["content"]["itemContent"]["promotedMetadata"] = {"advertiser": "somebody"}
        entries.append(entry)
    instructions = [{"type": "TimelineAddEntries", "entries": entries}]
    return {"data": {"threaded_conversation_with_injections_v2": {"instructions": instructions}}}


def _entry(entry_id: str, result: dict[str, Any]) -> dict[str, Any]:
    item = {"__typename": "TimelineTweet", "tweet_results": {"result": result}}
    return {"entryId": entry_id, "content": {"itemContent": item}}


def tombstone() -> dict[str, Any]:
    text = "This Post was deleted by the Post author. Learn more"
    return {"__typename": "TweetTombstone", "tombstone": {"__typename": "TextTombstone", "text": {"text": text}}}


def timeline(results: list[tuple[str, dict[str, Any]]], cursor: str | None) -> dict[str, Any]:
    """A page of a profile's timeline; ``results`` are (tweet id, result), ``cursor`` leads to the next page."""
    entries = [_entry(f"tweet-{tweet_id}", result) for tweet_id, result in results]
    if results:  # what is between the account's posts of a real timeline
        near = int(results[0][0])
        ad = _entry(f"promoted-{near + 8}", foreign_result(str(near + 8), 12))
        ad["content"]["itemContent"]["promotedMetadata"] = {"advertiser": "somebody"}
        entries[1:1] = [ad, _entry(f"tweet-{near + 9}", retweet_result(str(near + 9), str(near - 10_000)))]
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
        "identifier": post.shown_id,
        "dateCreated": iso(post.posted_at),
        "author": {"@type": "Person", "alternateName": f"@{HANDLE}"},
        "commentCount": truth.replies,
        "interactionStatistic": [
            statistic("LikeAction", "Likes", truth.likes),
            statistic("ShareAction", "Retweets", truth.retweets),
            statistic("CommentAction", "Replies", truth.replies),
            statistic("ViewAction", "Views", truth.views),
        ],
    }


def iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
