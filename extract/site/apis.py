"""The site's official and open ways: X API v2, the embed endpoint, the CSV export, Bluesky's and Mastodon's APIs."""

from __future__ import annotations

import csv
import io
from typing import Any

from extract.reading.post_ids import Network
from extract.site.account import HANDLE, Post
from extract.site.answers import USER_ID, iso, tombstone
from extract.site.counters import Truth
from extract.site.http_answer import HttpAnswer, Query, as_json, first
from extract.site.scene import Scene

_EXPORT_HEADER = tuple(
    [
        "Post id",
        "Date",
        "Post text",
        "Post Link",
        "Impressions",
        "Likes",
        "Engagements",
        "Bookmarks",
        "Shares",
        "New follows",
        "Replies",
        "Reposts",
        "Profile visits",
        "Detail Expands",
        "URL Clicks",
        "Hashtag Clicks",
        "Permalink Clicks",
    ]
)
_MOST_IDS = {"xapi": 100, "bluesky": 25}


def api_v2(site: Scene, path: str, query: Query) -> HttpAnswer:
    """``GET /2/tweets?ids=``: posts that are gone are under errors. The server asks for a bearer token, as X does."""
    ids = first(query, "ids").split(",")
    if len(ids) > _MOST_IDS["xapi"]:
        return as_json({"title": "Invalid Request", "detail": "ids: 1 to 100", "status": 400}, 400)
    rows, errors = [], []
    for tweet_id in ids:
        post, truth = site.shown(tweet_id)
        if post is None or truth is None:
            kind = "https://api.twitter.com/2/problems/resource-not-found"
            detail = f"Could not find tweet with ids: [{tweet_id}]."
            errors.append({"value": tweet_id, "resource_id": tweet_id, "detail": detail, "type": kind})
        else:
            rows.append(_v2_row(post, truth))
    now = site.clock.now()
    counts = {"followers_count": site.followers(now), "following_count": 180}
    user = {"id": USER_ID, "username": HANDLE, "name": "Levelset Demo"}
    user["public_metrics"] = {**counts, "tweet_count": len(site.account.posts(now))}  # type: ignore[assignment]
    body: dict[str, Any] = {"data": rows, "includes": {"users": [user]}} if rows else {}
    return as_json({**body, **({"errors": errors} if errors else {})})


def _v2_row(post: Post, truth: Truth) -> dict[str, Any]:
    return {
        "id": post.shown_id,
        "text": post.text,
        "edit_history_tweet_ids": [i for i in (post.tweet_id, post.edited_id) if i],
        "created_at": iso(post.posted_at),
        "author_id": USER_ID,
        "public_metrics": {
            "retweet_count": truth.retweets,
            "reply_count": truth.replies,
            "like_count": truth.likes,
            "quote_count": truth.quotes,
            "bookmark_count": truth.bookmarks,
            "impression_count": truth.views,
        },
    }


def embed(site: Scene, path: str, query: Query) -> HttpAnswer:
    """The embed endpoint: likes, and the size of the conversation."""
    post, truth = site.shown(first(query, "id"))
    if post is None or truth is None:
        return as_json(tombstone())
    body = {"__typename": "Tweet", "id_str": post.shown_id, "favorite_count": truth.likes, "text": post.text}
    user = {"id_str": USER_ID, "screen_name": HANDLE}
    return as_json({**body, "conversation_count": truth.replies, "created_at": iso(post.posted_at), "user": user})


def export_csv(site: Scene, path: str, query: Query) -> HttpAnswer:
    """The official export of the account's posts, in the header of 2026."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_EXPORT_HEADER)
    for post in site.account.posts(site.clock.now()):
        truth = site.truth(post.tweet_id)
        if truth is None:
            continue
        link = f"https://x.com/{HANDLE}/status/{post.tweet_id}"
        engagements = truth.likes + truth.retweets + truth.replies
        values = (truth.views, truth.likes, engagements, truth.bookmarks, 0, 0, truth.replies, truth.retweets)
        day = f"{post.posted_at:%a, %b} {post.posted_at.day}, {post.posted_at:%Y}"
        writer.writerow((post.tweet_id, day, post.text, link, *values, truth.views // 50, 0, 0, 0, 0))
    return HttpAnswer(200, "text/csv; charset=utf-8", file.getvalue())


def bluesky(site: Scene, path: str, query: Query) -> HttpAnswer:
    """``getPosts`` (posts that are gone are left out) and ``getProfile``."""
    if path.endswith("getProfile"):
        now = site.clock.now()
        counts = {"followersCount": site.followers(now), "followsCount": 180}
        return as_json({"handle": HANDLE, **counts, "postsCount": len(site.account.posts(now))})
    uris = query.get("uris", [])
    if len(uris) > _MOST_IDS["bluesky"]:
        return as_json({"error": "InvalidRequest", "message": "uris: 25 at most"}, 400)
    posts = []
    for uri in uris:
        post, truth = site.shown(uri)
        if post is not None and truth is not None:
            posts.append(
                {
                    "uri": post.tweet_id,
                    "author": {"did": "did:plc:levelset", "handle": HANDLE},
                    "record": {"createdAt": iso(post.posted_at), "text": post.text},
                    "likeCount": truth.likes,
                    "repostCount": truth.retweets,
                    "replyCount": truth.replies,
                    "quoteCount": truth.quotes,
                    "bookmarkCount": truth.bookmarks,
                }
            )
    return as_json({"posts": posts})


def mastodon(site: Scene, path: str, query: Query) -> HttpAnswer:
    """One status, with the account's followers in it."""
    post, truth = site.shown(path.rsplit("/", 1)[-1])
    if post is None or truth is None or site.account.network is not Network.MASTODON:
        return as_json({"error": "Record not found"}, 404)
    account = {"acct": HANDLE, "username": HANDLE, "followers_count": site.followers(site.clock.now())}
    return as_json(
        {
            "id": post.tweet_id,
            "created_at": iso(post.posted_at),
            "content": post.text,
            "account": {**account, "following_count": 180, "statuses_count": 900},
            "favourites_count": truth.likes,
            "reblogs_count": truth.retweets,
            "replies_count": truth.replies,
            "quotes_count": truth.quotes,
        }
    )
