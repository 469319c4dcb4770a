"""Search in English and Chinese: Chinese has no blanks between words, so two neighbouring characters are a term."""

import re

from sphinx.search.en import SearchEnglish

CHINESE = "\u4e00-\u9fff"
RUN = re.compile(f"[{CHINESE}]+")

SPLITTER = """
function splitQuery(query) {
  return query.split(/[^\\p{Letter}\\p{Number}_\\p{Emoji_Presentation}]+/gu).flatMap((word) =>
    word.split(/([\\u4e00-\\u9fff]+)/u).flatMap((part) =>
      /^[\\u4e00-\\u9fff]{3,}$/u.test(part) ? Array.from(part).slice(1).map((c, i) => part[i] + c) : [part])
  ).filter((term) => term);
}
"""


class EnglishAndChinese(SearchEnglish):
    """English words by their stems, Chinese text by pairs of characters."""

    lang = "en-zh"
    language_name = "English"  # by which the stemmer in JavaScript is named
    js_splitter_code = SPLITTER

    def split(self, input: str) -> list[str]:
        """The terms of a text."""
        terms = []
        for word in super().split(input):
            at = 0
            for run in RUN.finditer(word):
                terms.append(word[at : run.start()])
                text = run[0]
                terms += [text] if len(text) < 2 else [text[i : i + 2] for i in range(len(text) - 1)]
                at = run.end()
            terms.append(word[at:])
        return [term for term in terms if term]
