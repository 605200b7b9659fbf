"""Neutral sentences that the assistant answers a draft with: see `filler_drafts.py` for the rules.

An assistant's words are never evidence; they are the noise that a reader of a long chat has to see through.
"""

from __future__ import annotations

OPENINGS = (
    "I read it twice and think it can go out before {time} with a few small changes.",
    "This is already clear, so I only worked on the parts around {day}.",
    "Here is what I would do with it, so that {person} gets the point at once.",
    "Good that you sent it now, {time} leaves enough room for one more round.",
    "I kept your order and your tone, and looked mainly at the part about {place}.",
    "There is nothing wrong with it, but {number} sentences carry more than they can bear.",
    "Let me go through it step by step, from the beginning up to {time}.",
    "I can follow it well, and I believe {person} will too.",
    "Gladly, and since you have until {day} I will also say why.",
    "It reads as if written in one go, which suits {person}, so I changed little.",
    "First the short answer: yes, you can send it on {day} as it is now.",
    "I see what you mean with the part about {month}, so let me start there.",
)

POLISH = (
    "I moved the sentence about {day} further up, because everything after it depends on it.",
    "Where you had {number} short sentences in a row, I joined two of them.",
    "The part about {place} was said twice, so I kept the shorter one.",
    "I replaced two vague words next to {time} by the exact ones.",
    "The name of {person} now comes before the reason, which is easier to follow.",
    "In the middle I added a line break, so that {month} and {day} are not read together.",
    "I left out one remark about {person}, as it could sound harsher than you mean it.",
    "The ending now repeats {day}, so that nobody has to search for it.",
    "I turned the question near {place} into a plain request, which sounds more certain.",
    "Your last paragraph now needs {number} lines instead of more, and nothing is lost.",
    "I did not touch anything that {person} might take as a promise.",
    "One comma before {time} was missing, and one after it was too many.",
    "The sentence with {friend} in it was fine, only its verb came rather late.",
    "I wrote out the {number} as a word, because figures look cold in such a text.",
    "You may want to check {month} once more, as I cannot know whether it is right.",
    "The tone towards {person} is friendly now, without being too close.",
    "Before {day} I would read it aloud once, that shows whether the rhythm holds.",
    "Should {person} ask, you can say that only the wording has changed.",
    "I kept {place} where it was, since the rest of the text leads up to it.",
    "If it must get shorter still, drop the sentence about {month} first.",
)

ADVICE = (
    "I would wait until {day} and then say one thing only, calmly and without a list.",
    "Write down what you would say to {person}, put it away, and read it again at {time}.",
    "It helps to begin with something both of you know, for example that day near {place}.",
    "Ask {person} a question and then count slowly to {number} before you go on.",
    "You do not have to settle everything before {month}, one step is enough for now.",
    "Perhaps {friend} can be there too, as long as nobody feels outnumbered.",
    "Tell {person} what you noticed, not what you think the reason is.",
    "Choose a place where you can both leave, such as a bench near {place}.",
    "If the talk turns loud, say that you will go on with it on {day}, and keep your word.",
    "Most people need {number} days to answer something that surprised them.",
    "A short note is fine as well, {person} can then read it without an audience.",
    "Try not to bring up {month} again, that only opens the next argument.",
    "You could offer a small thing first, like taking over the errand to {place}.",
    "Sleep is part of it, so leave the phone in another room after {time}.",
    "What {friend} thinks matters less than it seems to you on a bad {day}.",
    "Say what you would need until {month}, and ask what the other side needs.",
    "If {person} does not reply, that is an answer about the timing and not about you.",
    "Give it {number} weeks, and then look at it again with fresh eyes.",
    "You may also talk to somebody at {office}, they hear such things every day.",
    "It is fair to say no to {person}, as long as you say it early.",
)

ANSWER = (
    "Begin with the simplest thing and give it about {number} minutes before you do more.",
    "Most instructions, also the one at {place}, mean the same and only use other words.",
    "The first step needs no tools at all, and it is the one that {person} left out.",
    "Do it at {time} when there is daylight, so that you see what you are doing.",
    "Use lukewarm water and patience, as {weather} outside makes no difference to it.",
    "After {number} minutes, stop and look whether anything has changed.",
    "What {person} told you is right for new things, but not for old ones.",
    "Never hurry the second step, that is where {number} out of ten go wrong.",
    "If you are unsure, ask at {place} for the printed sheet, it is free.",
    "Then let everything rest until {day}, in a dry place and away from the heater.",
    "The advice from before {month} is out of date, since the materials have changed.",
    "Write the date on a label, so that by {month} you still know when you did it.",
    "When there is {weather}, it simply takes longer, and that is no sign of a mistake.",
    "Repeat it every {number} weeks, more often does no good.",
    "A soft cloth is enough, whatever {person} says about special products.",
    "If it smells odd after {time}, open a window and begin again the next day.",
    "There are {number} ways in all, but two of them differ only in their names.",
    "The cheap way is fine until {month}, then you should look at it again.",
    "What can go wrong is mostly that one forgets it, as {friend} did in {month}.",
    "Should it fail on {day}, somebody at {place} can usually help for a small fee.",
)

TRANSLATED = (
    "I chose the polite form, as the text goes to {office}.",
    "The phrase about {place} has no exact match, so I described it in a few words.",
    "For {time} I used the form with twenty-four hours, which is usual in letters there.",
    "The sentence with {person} is in the past tense now, since the language asks for it.",
    "I left the name of {person} as it is, names are not translated.",
    "Where you wrote about {weather}, I took the common everyday word.",
    "The order of words around {day} had to change, the meaning is the same.",
    "In {month} one would rather use the longer form, so I did that as well.",
    "A literal version of the part about {number} minutes would sound odd, so I made it freer.",
    "If {person} is younger than you, the informal form would be possible too.",
    "The word for {place} differs from region to region, this one is understood everywhere.",
    "I split the sentence near {time} into two, as long ones are rare in that language.",
    "Should {person} answer with a question about {month}, send it to me and I will put it into English.",
    "The greeting is the usual one for {day}, neither stiff nor too close.",
    "Numbers such as {number} are written out in such texts, so I did the same.",
    "I kept the paragraphs, so that {person} can compare both versions line by line.",
)

EXPLAINED = (
    "In short, the writer had {trouble} and would like some patience until {day}.",
    "The part about {place} is only there to explain why it took so long.",
    "There is no reproach in it, even if the sentence about {time} sounds like one.",
    "What the writer wants is an answer by {day}, a single line would do.",
    "The mention of {person} is polite, it asks you for nothing.",
    "I read the {month} remark as a joke, although it is a dry one.",
    "If you answer, begin with {day}, and leave {trouble} for later.",
    "The tone is friendly, only the middle part with {person} is in a hurry.",
    "The writer seems to assume that you know {place}, which explains the gaps.",
    "You could ask what happened at {time}, that is the one thing left open.",
    "Nothing in it has to be settled before {month}, as far as I can see.",
    "A kind reply of {number} sentences would be the right length.",
    "The writer repeats {number} things, which people do when they are tired.",
    "I would not read anything into the word before {time}, it is a common one.",
)

CLOSINGS = (
    "If {person} would like it shorter, send it back and I will cut it by a third.",
    "Tell me on {day} how it went, if you like.",
    "Should anything about {month} change, we only have to touch one line.",
    "I am glad to look at it again after {time}.",
    "And if {friend} has another opinion, we can compare both versions.",
    "That should be enough for {day}, the rest can wait.",
    "For the part about {place} I can offer {number} more versions.",
    "Take what helps you until {day} and leave the rest.",
    "You can stop here, or we go through it again with {person} in mind.",
    "Everything else can stay as it is until {month}.",
)
